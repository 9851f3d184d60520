package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The object that check writes. One for all tasks: nothing piles up.
const (
	objectKey  = "sample.txt"
	objectText = "Written by the sample application.\n"
)

// bucket is the one that the service's variables name. Nil if there is none.
type bucket struct {
	name   string
	client *s3.Client

	// written is set once this process has put the object. In a versioned bucket each put is one more version, and the
	// load balancer asks every ten seconds.
	written atomic.Bool
}

func newBucket(ctx context.Context, getenv func(string) string) (*bucket, error) {
	name := getenv("PHOTOS_BUCKET")
	if name == "" {
		return nil, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	return &bucket{name: name, client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		// With an endpoint of one's own (AWS_ENDPOINT_URL) a bucket's host name does not resolve.
		o.UsePathStyle = o.BaseEndpoint != nil
	})}, nil
}

// check puts the object the first time, and gets it each time.
func (b *bucket) check(ctx context.Context) (string, error) {
	if b == nil {
		return "PHOTOS_BUCKET is not set", nil
	}
	if !b.written.Load() {
		_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.name, Key: aws.String(objectKey), Body: strings.NewReader(objectText), ContentType: aws.String("text/plain"),
		})
		if err != nil {
			return "", fmt.Errorf("put s3://%s/%s: %w", b.name, objectKey, err)
		}
		b.written.Store(true)
	}
	object, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(objectKey)})
	if err != nil {
		return "", fmt.Errorf("get s3://%s/%s: %w", b.name, objectKey, err)
	}
	defer object.Body.Close()
	text, err := io.ReadAll(io.LimitReader(object.Body, 1<<10))
	if err != nil {
		return "", fmt.Errorf("get s3://%s/%s: %w", b.name, objectKey, err)
	}
	if string(text) != objectText {
		return "", fmt.Errorf("get s3://%s/%s: it holds %q, want %q", b.name, objectKey, text, objectText)
	}
	return fmt.Sprintf("%s, put and got %s", b.name, objectKey), nil
}
