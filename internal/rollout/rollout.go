// Package rollout reads the deployments of an ECS service: which there are, what they run, and why they fail. It changes nothing.
package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-containerregistry/pkg/name"

	"flask-on-fargate/internal/plaintext"
)

const (
	// The most that ECS takes in one call:
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServiceDeployments.html
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
	listPage     = 100
	revisionPage = 20
	taskPage     = 100

	// maxReasons is how many different reasons of stopped tasks a failure names: tasks of one deployment mostly share one.
	maxReasons = 3

	noReason = "ECS gives no reason"
)

// Reader is the part of ECS that tells about services.
type Reader interface {
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// Service is an ECS service.
type Service struct {
	ECS     Reader
	Cluster string // name or ARN
	Name    string

	MaxDetail int // most characters of each text that ECS contributes; default: all
}

// Deployments returns the deployments created after a time, in these states or in all, the newest first.
func (s Service) Deployments(ctx context.Context, after time.Time, states ...types.ServiceDeploymentStatus) ([]types.ServiceDeploymentBrief, error) {
	in := &ecs.ListServiceDeploymentsInput{Cluster: &s.Cluster, Service: &s.Name, Status: states, MaxResults: aws.Int32(listPage)}
	if !after.IsZero() {
		in.CreatedAt = &types.CreatedAt{After: &after}
	}
	var found []types.ServiceDeploymentBrief
	for {
		page, err := s.ECS.ListServiceDeployments(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list the deployments of service %s: %w", s.Name, err)
		}
		found = append(found, page.ServiceDeployments...)
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	slices.SortFunc(found, func(a, b types.ServiceDeploymentBrief) int {
		return aws.ToTime(b.CreatedAt).Compare(aws.ToTime(a.CreatedAt))
	})
	return found, nil
}

// Deployment returns all that ECS knows of a deployment.
func (s Service) Deployment(ctx context.Context, arn string) (types.ServiceDeployment, error) {
	out, err := s.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{arn}})
	if err != nil {
		return types.ServiceDeployment{}, fmt.Errorf("read the deployment %s: %w", arn, err)
	}
	if len(out.ServiceDeployments) != 1 {
		return types.ServiceDeployment{}, fmt.Errorf("ECS no longer shows the deployment %s", arn)
	}
	return out.ServiceDeployments[0], nil
}

// Targets returns the revisions that deployments roll out, in the same order. A revision that ECS no longer has is empty.
func (s Service) Targets(ctx context.Context, deployments []types.ServiceDeploymentBrief) ([]types.ServiceRevision, error) {
	arns := make([]string, len(deployments))
	for i, d := range deployments {
		arns[i] = aws.ToString(d.TargetServiceRevisionArn)
	}
	return s.Revisions(ctx, arns...)
}

// Revisions returns revisions of the service by their ARNs, in the same order. A revision that ECS no longer has is empty.
func (s Service) Revisions(ctx context.Context, arns ...string) ([]types.ServiceRevision, error) {
	found := make([]types.ServiceRevision, len(arns))
	for batch := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(arns))), revisionPage) {
		out, err := s.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: batch})
		if err != nil {
			return nil, fmt.Errorf("read the revisions of service %s: %w", s.Name, err)
		}
		for _, r := range out.ServiceRevisions {
			for i, arn := range arns {
				if arn == aws.ToString(r.ServiceRevisionArn) {
					found[i] = r
				}
			}
		}
	}
	return found, nil
}

// Tasks returns the tasks of the service that ECS runs, or those that have stopped. ECS keeps stopped tasks for about an hour.
func (s Service) Tasks(ctx context.Context, status types.DesiredStatus) ([]types.Task, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(s.ECS, &ecs.ListTasksInput{Cluster: &s.Cluster, ServiceName: &s.Name, DesiredStatus: status})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the tasks of service %s: %w", s.Name, err)
		}
		arns = append(arns, page.TaskArns...)
	}
	var tasks []types.Task
	for batch := range slices.Chunk(arns, taskPage) {
		out, err := s.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &s.Cluster, Tasks: batch})
		if err != nil {
			return nil, fmt.Errorf("read the tasks of service %s: %w", s.Name, err)
		}
		tasks = append(tasks, out.Tasks...)
	}
	return tasks, nil
}

// Reason is why a deployment is in its state.
func (s Service) Reason(d types.ServiceDeployment) string {
	var rollback *string
	if d.Rollback != nil {
		rollback = d.Rollback.Reason
	}
	return cmp.Or(s.text(rollback), s.text(d.StatusReason), noReason)
}

// StopReasons says why tasks of a task definition stopped, each reason once. A reason has several parts if containers add theirs.
func (s Service) StopReasons(ctx context.Context, taskDefinition, separator string) ([]string, error) {
	tasks, err := s.Tasks(ctx, types.DesiredStatusStopped)
	if err != nil {
		return nil, err
	}
	var reasons []string
	for _, task := range tasks {
		// The tasks that the deployment replaced stopped too, as they should.
		if aws.ToString(task.TaskDefinitionArn) != taskDefinition {
			continue
		}
		parts := []string{cmp.Or(s.text(task.StoppedReason), noReason)}
		for _, c := range task.Containers {
			if c.ExitCode != nil {
				parts = append(parts, fmt.Sprintf("container %s exited with %d", aws.ToString(c.Name), *c.ExitCode))
			}
			if c.Reason != nil {
				parts = append(parts, fmt.Sprintf("container %s: %s", aws.ToString(c.Name), s.text(c.Reason)))
			}
		}
		if reason := strings.Join(parts, separator); !slices.Contains(reasons, reason) && len(reasons) < maxReasons {
			reasons = append(reasons, reason)
		}
	}
	return reasons, nil
}

// text is a text of ECS on one line.
func (s Service) text(text *string) string {
	line := plaintext.OneLine(aws.ToString(text))
	if s.MaxDetail > 0 {
		line = plaintext.Cut(line, s.MaxDetail)
	}
	return line
}

// Image returns the image of a container in a revision, and its digest. Both are "" if ECS gives none.
func Image(r types.ServiceRevision, container string) (image, digest string) {
	i := slices.IndexFunc(r.ContainerImages, func(c types.ContainerImage) bool { return aws.ToString(c.ContainerName) == container })
	if i < 0 {
		return "", ""
	}
	image, digest = aws.ToString(r.ContainerImages[i].Image), aws.ToString(r.ContainerImages[i].ImageDigest)
	// ECS resolves tags only.
	if ref, err := name.NewDigest(image); err == nil && digest == "" {
		digest = ref.DigestStr()
	}
	return image, digest
}

// RunningTasks is how many tasks of its target revision a deployment runs.
func RunningTasks(d types.ServiceDeployment) int {
	if d.TargetServiceRevision == nil {
		return 0
	}
	return int(d.TargetServiceRevision.RunningTaskCount)
}
