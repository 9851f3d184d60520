package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// fetchTime bounds a whole fetch, retries included.
const fetchTime = 2 * time.Minute

// limits bound what fetch takes from the network and writes to the disk. A schema is far below them.
type limits struct {
	zip      int64 // bytes of the zip file
	unpacked int64 // bytes of all its files
	files    int   // entries, directories included
}

var schemaLimits = limits{zip: 100 << 20, unpacked: 1 << 30, files: 10_000}

// source is an object in S3.
type source struct{ bucket, key string }

func (s source) String() string { return "s3://" + s.bucket + "/" + s.key }

// fetch downloads the zip file at src and unpacks it into dir, which it makes if need be. Files of the same name are
// replaced, others stay.
func fetch(ctx context.Context, src source, dir string, log io.Writer) error {
	for _, variable := range []struct{ name, value string }{
		{"SCHEMA_BUCKET", src.bucket}, {"SCHEMA_KEY", src.key}, {"SCHEMA_DIR", dir},
	} {
		if variable.value == "" {
			return fmt.Errorf("%s is not set; fetch needs SCHEMA_BUCKET, SCHEMA_KEY and SCHEMA_DIR", variable.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	// In dir, since the image has no /tmp.
	archive, err := os.CreateTemp(dir, ".fetch-*.zip")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	size, err := download(ctx, src, archive, schemaLimits.zip)
	if err != nil {
		return fmt.Errorf("download %s: %w", src, err)
	}
	files, err := unpack(archive, size, root, schemaLimits)
	if err != nil {
		return fmt.Errorf("unpack %s into %s: %w", src, dir, err)
	}
	fmt.Fprintf(log, "fetch: unpacked %d files of %s into %s\n", files, src, dir)
	return nil
}

// download copies an object of at most limit bytes to the beginning of w, and returns its size. The SDK retries a request
// until it has the headers of an answer. A body that breaks off is downloaded again from its start.
func download(ctx context.Context, src source, w io.WriterAt, limit int64) (int64, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryer(newRetryer))
	if err != nil {
		return 0, err
	}
	if cfg.Region == "" {
		return 0, errors.New("AWS_REGION is not set; ECS sets it on Fargate")
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		// With an endpoint of one's own (AWS_ENDPOINT_URL) a bucket's host name does not resolve.
		o.UsePathStyle = o.BaseEndpoint != nil
		// An object that was stored without a checksum is no news, and a failure is told in one line.
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	backoff := retry.NewExponentialJitterBackoff(maxBackoff)
	for attempt := 1; ; attempt++ {
		size, err := downloadOnce(ctx, client, src, w, limit)
		if !errors.Is(err, errBroken) {
			return size, err
		}
		if attempt == maxAttempts {
			return 0, fmt.Errorf("%w in each of %d attempts", err, attempt)
		}
		delay, _ := backoff.BackoffDelay(attempt, err) // at once if there is no randomness
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w, after %d attempts: %w", err, attempt, ctx.Err())
		case <-time.After(delay):
		}
	}
}

// errBroken is the error of a body that ended too early.
var errBroken = errors.New("the download broke off")

func downloadOnce(ctx context.Context, client *s3.Client, src source, w io.WriterAt, limit int64) (int64, error) {
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &src.bucket, Key: &src.key})
	if err != nil {
		return 0, fmt.Errorf("%w; the task role needs s3:GetObject on this object (S3 answers 403 for a missing one too)", err)
	}
	defer object.Body.Close()
	tooLarge := fmt.Errorf("the object has more than the %d bytes that are allowed", limit)
	if aws.ToInt64(object.ContentLength) > limit {
		return 0, tooLarge
	}
	size, err := io.Copy(io.NewOffsetWriter(w, 0), io.LimitReader(object.Body, limit+1))
	if onDisk := new(fs.PathError); errors.As(err, &onDisk) {
		return 0, err
	}
	if err != nil {
		return 0, fmt.Errorf("%w after %d bytes (%w)", errBroken, size, err)
	}
	if size > limit {
		return 0, tooLarge
	}
	return size, nil
}

// maxAttempts is how often a request is made, and a download begun.
const maxAttempts = 8

// maxBackoff bounds the wait between two attempts; tests shorten it.
var maxBackoff = 20 * time.Second

// newRetryer also retries a refusal, for about half a minute: a role or policy that was just made is not known everywhere
// for some seconds (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency).
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{"AccessDenied": {}}})
	})
}

// unpack writes the files of a zip archive below root, readable for everyone, and returns their number.
func unpack(archive io.ReaderAt, size int64, root *os.Root, limit limits) (int, error) {
	r, err := zip.NewReader(archive, size)
	if err != nil {
		return 0, err
	}
	if len(r.File) > limit.files {
		return 0, fmt.Errorf("the zip file has %d entries, allowed are %d", len(r.File), limit.files)
	}
	files, left := 0, limit.unpacked
	for _, entry := range r.File {
		if !filepath.IsLocal(entry.Name) || strings.Contains(entry.Name, `\`) {
			return 0, fmt.Errorf("entry %q: its path leaves the directory, or is not a zip file's", entry.Name)
		}
		switch mode := entry.Mode(); {
		case mode.IsDir():
			if err := root.MkdirAll(path.Clean(entry.Name), 0o755); err != nil {
				return 0, fmt.Errorf("entry %q: %w", entry.Name, err)
			}
			continue
		case !mode.IsRegular():
			return 0, fmt.Errorf("entry %q: it is a %s, only files and directories are allowed", entry.Name, mode)
		}
		written, err := unpackFile(entry, root, left)
		if err != nil {
			return 0, fmt.Errorf("entry %q: %w", entry.Name, err)
		}
		left -= written
		if left < 0 {
			return 0, fmt.Errorf("entry %q: the files have more than the %d bytes that are allowed", entry.Name, limit.unpacked)
		}
		files++
	}
	return files, nil
}

// unpackFile writes one file, but no more than one byte beyond limit, and returns how many bytes it wrote. What the zip
// file's directory says of the size is not trusted.
func unpackFile(entry *zip.File, root *os.Root, limit int64) (int64, error) {
	content, err := entry.Open()
	if err != nil {
		return 0, err
	}
	defer content.Close()
	if err := root.MkdirAll(path.Dir(entry.Name), 0o755); err != nil {
		return 0, err
	}
	file, err := root.OpenFile(entry.Name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, err
	}
	written, err := io.Copy(file, io.LimitReader(content, limit+1))
	return written, errors.Join(err, file.Close())
}
