package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"flask-on-fargate/internal/registry"
)

type pushOptions struct {
	path                      string
	registry, repository, tag string

	arch       string // of this machine, in an image platform's words
	staticOnly bool
}

// push pushes the image at o.path and prints its digest.
func push(ctx context.Context, o pushOptions, stdout, stderr io.Writer) error {
	u, err := url.Parse(o.registry)
	if err != nil || u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("--registry is %q: want http://HOST:PORT, the address of the local target's registry", o.registry)
	}
	if _, err := name.NewTag(u.Host+"/"+o.repository+":"+o.tag, name.StrictValidation); err != nil {
		return fmt.Errorf("--repository %q, --tag %q: %w", o.repository, o.tag, err)
	}

	// In TMPDIR: an archive is unpacked, and an image may be large.
	work, err := os.MkdirTemp("", "push-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	image, err := open(o.path, work)
	if err != nil {
		return err
	}
	platforms, err := platformsOf(image)
	if err == nil {
		err = checkRuns(platforms, o.arch, o.staticOnly)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.path, explain(err))
	}

	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "pushing %s of %s as %s:%s to %s\n", digest, names(platforms), o.repository, o.tag, o.registry)
	repository, err := registry.Connect(ctx, anyone{o.registry}, o.repository, registry.Options{
		Backoff: remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 3},
		Log:     slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	if err := repository.Push(ctx, o.tag, image); err != nil {
		return explain(err)
	}
	fmt.Fprintln(stdout, digest)
	return nil
}

// explain adds a remedy to an error.
func explain(err error) error {
	var answer *transport.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Docker saves an index of all platforms, also where it has only one of them.
		return fmt.Errorf("%w; the image lacks a part that it names: write one platform of it, `docker save --platform linux/%s`", err, runtime.GOARCH)
	case errors.As(err, &answer) && slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return d.Code == transport.NameUnknownErrorCode }):
		return fmt.Errorf("%w; the data stack makes the repository: deploy it first", err)
	}
	return err
}

// anyone is the [registry.Authorizer] of a registry that asks for credentials, as ECR does, and takes any.
type anyone struct{ endpoint string }

func (a anyone) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []types.AuthorizationData{{
		AuthorizationToken: aws.String(base64.StdEncoding.EncodeToString([]byte("AWS:local"))),
		ProxyEndpoint:      &a.endpoint,
	}}}, nil
}
