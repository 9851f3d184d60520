package rollout_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/rollout"
)

// tasks is ECS with stopped tasks.
type tasks struct {
	rollout.Reader
	stopped []types.Task
}

func (f tasks) ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	return &ecs.ListTasksOutput{TaskArns: make([]string, len(f.stopped))}, nil
}

func (f tasks) DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	return &ecs.DescribeTasksOutput{Tasks: f.stopped}, nil
}

func TestStopReasons(t *testing.T) {
	stopped := func(taskDefinition, reason string, containers ...types.Container) types.Task {
		return types.Task{TaskDefinitionArn: &taskDefinition, StoppedReason: aws.String(reason), Containers: containers}
	}
	crashed := stopped("new", "Essential container\nin task exited", types.Container{Name: aws.String("app"), ExitCode: aws.Int32(3)})
	s := rollout.Service{MaxDetail: 20, ECS: tasks{stopped: []types.Task{
		stopped("old", "Scaling activity"), crashed, crashed,
		stopped("new", "", types.Container{Name: aws.String("app"), Reason: aws.String("CannotPullContainerError: timeout")}),
		stopped("new", "third"), stopped("new", "fourth"),
	}}}
	got, err := s.StopReasons(t.Context(), "new", ", ")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Essential container…, container app exited with 3", "ECS gives no reason, container app: CannotPullContainer…", "third"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReason(t *testing.T) {
	for want, d := range map[string]types.ServiceDeployment{
		"the circuit breaker": {StatusReason: aws.String("stopped"), Rollback: &types.Rollback{Reason: aws.String("the circuit\nbreaker")}},
		"stopped":             {StatusReason: aws.String("stopped"), Rollback: &types.Rollback{}},
		"ECS gives no reason": {},
	} {
		if got := (rollout.Service{}).Reason(d); got != want {
			t.Errorf("Reason = %q, want %q", got, want)
		}
	}
}

func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	revision := func(image, digest *string) types.ServiceRevision {
		return types.ServiceRevision{ContainerImages: []types.ContainerImage{
			{ContainerName: aws.String("sidecar"), Image: aws.String("sidecar:1"), ImageDigest: aws.String("sha256:5")},
			{ContainerName: aws.String("app"), Image: image, ImageDigest: digest},
		}}
	}
	for name, test := range map[string]struct {
		revision      types.ServiceRevision
		image, digest string
	}{
		"of_a_tag":             {revision(aws.String("app:live"), &digest), "app:live", digest},
		"of_a_digest":          {revision(aws.String("app@"+digest), nil), "app@" + digest, digest},
		"without_a_digest":     {revision(aws.String("app:live"), nil), "app:live", ""},
		"of_no_such_container": {types.ServiceRevision{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if image, got := rollout.Image(test.revision, "app"); image != test.image || got != test.digest {
				t.Errorf("%q, %q; want %q, %q", image, got, test.image, test.digest)
			}
		})
	}
}
