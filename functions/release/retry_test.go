package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// server answers every request with the next of its replies, the last one for ever.
type server struct {
	replies []reply
	calls   int
}

type reply struct {
	status int // 0: the connection breaks
	body   string
}

func (s *server) Do(r *http.Request) (*http.Response, error) {
	next := s.replies[min(s.calls, len(s.replies)-1)]
	s.calls++
	if next.status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{
		StatusCode: next.status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(strings.NewReader(next.body)), Request: r,
	}, nil
}

func TestAnArtifactIsReadWithTheCredentialsOfItsJob(t *testing.T) {
	var asked *http.Request
	read := artifactsOf(aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("function", "secret", ""), HTTPClient: client(func(r *http.Request) (*http.Response, error) {
			asked = r
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("zip")), Request: r}, nil
		}),
	})(events.CodePipelineArtifactCredentials{AccessKeyID: "job", SecretAccessKey: "x", SessionToken: "session"})
	content, err := download(t.Context(), read, events.CodePipelineS3Location{BucketName: "artifacts", ObjectKey: "demo/Image/abc"})
	if err != nil || string(content) != "zip" {
		t.Fatalf("%q, %v", content, err)
	}
	wantParts(t, asked.URL.String(), "artifacts", "/demo/Image/abc")
	wantParts(t, asked.Header.Get("Authorization"), "Credential=job/")
	if token := asked.Header.Get("X-Amz-Security-Token"); token != "session" {
		t.Errorf("the session token is %q", token)
	}
	again, err := credentialsOf(t, read)
	if err != nil || again.SecretAccessKey != "x" {
		t.Errorf("the secret is not the job's: %v", err)
	}
}

func credentialsOf(t *testing.T, r objectReader) (aws.Credentials, error) {
	t.Helper()
	return r.(*s3.Client).Options().Credentials.Retrieve(t.Context())
}

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

// TestRetries calls the SDK's clients as main makes them, in a bubble whose time costs nothing.
func TestRetries(t *testing.T) {
	config := func(s *server) aws.Config {
		return aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""), HTTPClient: s, Retryer: newRetryer}
	}
	services := map[string]func(context.Context, *server) error{
		"ECS": func(ctx context.Context, s *server) error {
			_, err := (&handler{ecs: ecs.NewFromConfig(config(s))}).rollouts().Deployments(ctx, time.Now())
			return err
		},
		"ECR": func(ctx context.Context, s *server) error {
			_, err := (&handler{ecr: ecr.NewFromConfig(config(s))}).read(ctx, byTag(live))
			return err
		},
		"CodePipeline": func(ctx context.Context, s *server) error {
			_, err := codepipeline.NewFromConfig(config(s)).PutJobSuccessResult(ctx, &codepipeline.PutJobSuccessResultInput{JobId: aws.String("x")})
			return err
		},
	}
	faults := map[string]struct {
		reply
		passes bool
	}{
		"throttling":          {reply{400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`}, true},
		"a server error":      {reply{500, `{"__type":"ServerException","message":"oops"}`}, true},
		"a broken connection": {reply{}, true},
		"a denied access":     {reply{400, `{"__type":"AccessDeniedException","message":"not authorized"}`}, false},
	}
	for service, call := range services {
		for name, fault := range faults {
			t.Run(service+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &server{replies: []reply{fault.reply, fault.reply, {200, `{}`}}}
					if err := call(t.Context(), s); (err == nil) != fault.passes {
						t.Errorf("after %d calls: %v, want success %v", s.calls, err, fault.passes)
					}

					s = &server{replies: []reply{fault.reply}}
					began := time.Now()
					err := call(t.Context(), s)
					if err == nil || transient(err) != fault.passes {
						t.Errorf("transient(%v) = %v, want %v", err, transient(err), fault.passes)
					}
					if want := map[bool]int{true: 6, false: 1}[fault.passes]; s.calls != want {
						t.Errorf("%d calls, want %d", s.calls, want)
					}
					if took := time.Since(began); took > 17*time.Second {
						t.Errorf("waited %s, more than the function's reserve has room for", took)
					}
				})
			})
		}
	}
}
