package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	imageDefinitions = "imagedefinitions.json"

	// maxArtifact and maxImageDefinitions bound what is read, in bytes. The build's artifact has one file of some hundred.
	maxArtifact         = 16 << 20
	maxImageDefinitions = 100 << 10

	// maxImage is the length of an image's name in bytes: of a repository 256 at most, of a tag 128, and the registry.
	maxImage = 512
)

type objectReader interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// artifactsOf returns how the artifacts of a job are read: with its credentials, and else as cfg says.
func artifactsOf(cfg aws.Config) func(events.CodePipelineArtifactCredentials) objectReader {
	return func(c events.CodePipelineArtifactCredentials) objectReader {
		return s3.NewFromConfig(cfg, func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
		})
	}
}

// readImage returns the image that the run deploys, from the artifact that the deploy action has too. The credentials are
// the job's: the function's role reads no bucket.
func (h *handler) readImage(ctx context.Context, job *events.CodePipelineJob) (string, error) {
	if len(job.Data.InputArtifacts) != 1 {
		return "", fmt.Errorf("the Release action has %d input artifacts, want the one of the build that holds %s: correct the action", len(job.Data.InputArtifacts), imageDefinitions)
	}
	artifact := job.Data.InputArtifacts[0]
	location := artifact.Location.S3Location
	if location.BucketName == "" || location.ObjectKey == "" {
		return "", fmt.Errorf("the input artifact %q has no location in S3, which is all that the function reads", short(artifact.Name))
	}
	where := fmt.Sprintf("artifact %q (s3://%s/%s)", short(artifact.Name), short(location.BucketName), short(location.ObjectKey))
	content, err := download(ctx, h.artifacts(job.Data.ArtifactCredentials), location)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", where, err)
	}
	image, err := findImage(content, h.container)
	if err != nil {
		return "", fmt.Errorf("%s: %w; the project's buildspec.yml writes this file", where, err)
	}
	return image, nil
}

func download(ctx context.Context, client objectReader, location events.CodePipelineS3Location) ([]byte, error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &location.BucketName, Key: &location.ObjectKey})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	content, err := readAtMost(out.Body, maxArtifact)
	if err != nil && len(content) <= maxArtifact {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return content, err
}

// errBroken is the error of a body that ended too early. The SDK retries a request only until it has the headers.
var errBroken = errors.New("the download broke off")

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return content, err
}

// findImage returns the image of a container in the image definitions of a zipped artifact:
// https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
func findImage(artifact []byte, container string) (string, error) {
	archive, err := zip.NewReader(bytes.NewReader(artifact), int64(len(artifact)))
	if err != nil {
		return "", err
	}
	file, err := archive.Open(imageDefinitions)
	if named := new(fs.PathError); errors.As(err, &named) {
		err = named.Err
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", imageDefinitions, err)
	}
	defer file.Close()
	content, err := readAtMost(file, maxImageDefinitions)
	if err != nil {
		return "", fmt.Errorf("%s: %w", imageDefinitions, err)
	}
	var definitions []struct {
		Name     string `json:"name"`
		ImageURI string `json:"imageUri"`
	}
	if err := json.Unmarshal(content, &definitions); err != nil {
		return "", fmt.Errorf("%s: %w; want a list of {\"name\": …, \"imageUri\": …}", imageDefinitions, err)
	}
	var names []string
	for _, d := range definitions {
		names = append(names, d.Name)
	}
	i := slices.Index(names, container)
	if i < 0 {
		return "", fmt.Errorf("%s names the containers %s, want %q", imageDefinitions, short(fmt.Sprintf("%q", names)), container)
	}
	if image := definitions[i].ImageURI; image != "" && len(image) <= maxImage {
		return image, nil
	}
	return "", fmt.Errorf("%s has the imageUri %q for container %s, want the name of an image of at most %d bytes", imageDefinitions, short(definitions[i].ImageURI), container, maxImage)
}
