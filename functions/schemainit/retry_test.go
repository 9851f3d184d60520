package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// server answers every request with the next of its replies, the last one for ever.
type server struct {
	replies []reply
	tokens  []string
}

type reply struct {
	status int
	body   string
}

func (s *server) Do(r *http.Request) (*http.Response, error) {
	var in struct {
		ClientToken string `json:"clientToken"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	next := s.replies[min(len(s.tokens), len(s.replies)-1)]
	s.tokens = append(s.tokens, in.ClientToken)
	if next.status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{
		StatusCode: next.status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(strings.NewReader(next.body)), Request: r,
	}, nil
}

// runTask calls RunTask of the real SDK client, configured as main does it, in a bubble whose time costs nothing.
func runTask(t *testing.T, s *server) (arn string, waited time.Duration, err error) {
	t.Helper()
	client := ecs.NewFromConfig(aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""), HTTPClient: s, Retryer: newRetryer,
	}, ecs.WithAPIOptions(capacityAsError))
	begin := time.Now()
	arn, err = starter{ecs: client}.start(t.Context(), properties{Cluster: "c", TaskDefinition: "t", Subnets: []string{"subnet-0aa"}}, requestID)
	return arn, time.Since(begin), err
}

func TestRetries(t *testing.T) {
	started := reply{200, `{"tasks":[{"taskArn":"` + taskARN + `"}],"failures":[]}`}
	failed := func(code, message string) reply {
		return reply{400, `{"__type":"` + code + `","message":"` + message + `"}`}
	}
	passing := map[string]reply{
		"a denied access":      failed("AccessDeniedException", "User is not authorized to perform: iam:PassRole"),
		"unknown credentials":  failed("UnrecognizedClientException", "The security token included in the request is invalid"),
		"throttling":           failed("ThrottlingException", "Rate exceeded"),
		"a server error":       {500, `{"__type":"ServerException","message":"oops"}`},
		"a broken connection":  {},
		"a role not yet known": failed("ClientException", "ECS was unable to assume the role 'arn:aws:iam::111122223333:role/x' that was provided for this task."),
		"the service role":     failed("InvalidParameterException", "Unable to assume the service linked role. Please verify that the ECS service linked role exists."),
		"a lack of capacity":   {200, `{"tasks":[],"failures":[{"reason":"Capacity is unavailable at this time. Please try again later or in a different availability zone"}]}`},
	}
	for name, fault := range passing {
		t.Run(name+" is retried with the same client token", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{replies: []reply{fault, fault, fault, started}}
				arn, waited, err := runTask(t, s)
				if err != nil || arn != taskARN {
					t.Fatalf("arn %q, error %v", arn, err)
				}
				if len(s.tokens) != 4 || strings.Join(s.tokens, "") != strings.Repeat(requestID, 4) {
					t.Errorf("client tokens %v, want four times %s", s.tokens, requestID)
				}
				if waited == 0 || waited > 7*time.Second {
					t.Errorf("waited %s, want at most 1 s + 2 s + 4 s", waited)
				}
			})
		})
		t.Run(name+" is not retried for ever", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{replies: []reply{fault}}
				_, waited, err := runTask(t, s)
				if err == nil || len(s.tokens) != 10 || waited > 111*time.Second {
					t.Errorf("%d attempts in %s, error %v, want an error after 10 in at most 111s", len(s.tokens), waited, err)
				}
			})
		})
	}

	lasting := map[string]struct {
		reply
		want string
	}{
		"a wrong parameter":     {failed("InvalidParameterException", "No Fargate configuration exists for given values."), "No Fargate configuration"},
		"an inactive revision":  {failed("ClientException", "TaskDefinition is inactive"), "TaskDefinition is inactive"},
		"a missing cluster":     {failed("ClusterNotFoundException", "Cluster not found."), "Cluster not found."},
		"another listed reason": {reply{200, `{"failures":[{"reason":"RESOURCE:ENI"}]}`}, "RESOURCE:ENI"},
		"an empty answer":       {reply{200, `{}`}, "no task and no failure"},
	}
	for name, test := range lasting {
		t.Run(name+" is not retried", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{replies: []reply{test.reply, started}}
				_, waited, err := runTask(t, s)
				if err == nil || len(s.tokens) != 1 || waited > 0 {
					t.Fatalf("%d attempts in %s, error %v", len(s.tokens), waited, err)
				}
				wantParts(t, err.Error(), test.want)
			})
		})
	}
}

func TestAThrottledPollIsTransientAndADeniedOneIsNot(t *testing.T) {
	for code, want := range map[string]bool{"ThrottlingException": true, "AccessDeniedException": false, "ClusterNotFoundException": false} {
		synctest.Test(t, func(t *testing.T) {
			_, _, err := runTask(t, &server{replies: []reply{{400, `{"__type":"` + code + `","message":"x"}`}}})
			if transient(err) != want {
				t.Errorf("transient(%v) = %v", err, !want)
			}
		})
	}
}
