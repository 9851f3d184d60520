package main

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
)

const (
	// history is how far back deployments are looked at. None lasts as long; ECS keeps them for 90 days:
	// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
	history = 7 * 24 * time.Hour

	// listPage, revisionPage and taskPage are the most that ECS takes in one call.
	listPage     = 100
	revisionPage = 20
	taskPage     = 100

	// maxReasons is how many different reasons of stopped tasks a failure names: tasks of one deployment mostly share one.
	maxReasons = 3
)

// serviceReader is the part of ECS that is needed. The function changes nothing there.
type serviceReader interface {
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// completed is a deployment that ECS completed, and the image that it left running.
type completed struct {
	arn      string
	finished time.Time
	image    string // as the task definition names it
	digest   string // the image's own, or that of its platform
	running  bool   // at least one task
}

// list returns the deployments created since a time, in these states or in all, the newest first.
func (h *handler) list(ctx context.Context, since time.Time, states ...types.ServiceDeploymentStatus) ([]types.ServiceDeploymentBrief, error) {
	var found []types.ServiceDeploymentBrief
	in := &ecs.ListServiceDeploymentsInput{
		Cluster: &h.cluster, Service: &h.service, Status: states,
		CreatedAt: &types.CreatedAt{After: &since}, MaxResults: aws.Int32(listPage),
	}
	for {
		page, err := h.ecs.ListServiceDeployments(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list the deployments of service %s in cluster %s: %w", h.service, h.cluster, err)
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

func (h *handler) describe(ctx context.Context, arn string) (types.ServiceDeployment, error) {
	out, err := h.ecs.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{arn}})
	if err != nil {
		return types.ServiceDeployment{}, fmt.Errorf("read the deployment %s: %w", arn, err)
	}
	if len(out.ServiceDeployments) != 1 {
		return types.ServiceDeployment{}, fmt.Errorf("read the deployment %s: ECS lists it, but answers with %d of it; see it in the console", arn, len(out.ServiceDeployments))
	}
	return out.ServiceDeployments[0], nil
}

// revisions returns what ECS knows of the service's revisions, by ARN.
func (h *handler) revisions(ctx context.Context, arns []string) (map[string]types.ServiceRevision, error) {
	found := map[string]types.ServiceRevision{}
	for batch := range slices.Chunk(arns, revisionPage) {
		out, err := h.ecs.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: batch})
		if err != nil {
			return nil, fmt.Errorf("read the revisions of service %s: %w", h.service, err)
		}
		for _, r := range out.ServiceRevisions {
			found[aws.ToString(r.ServiceRevisionArn)] = r
		}
	}
	return found, nil
}

// image returns the application's image in a revision, and its digest; "" if ECS gives none.
func (h *handler) image(r types.ServiceRevision) (image, digest string) {
	i := slices.IndexFunc(r.ContainerImages, func(c types.ContainerImage) bool { return aws.ToString(c.ContainerName) == h.container })
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

// lastCompleted returns the deployment that was completed last: whose end, not whose beginning, is the newest. It returns nil
// if none was completed within history.
func (h *handler) lastCompleted(ctx context.Context) (*completed, error) {
	found, err := h.list(ctx, h.now().Add(-history), types.ServiceDeploymentStatusSuccessful, types.ServiceDeploymentStatusRollbackSuccessful)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	last := slices.MaxFunc(found, func(a, b types.ServiceDeploymentBrief) int {
		return aws.ToTime(a.FinishedAt).Compare(aws.ToTime(b.FinishedAt))
	})
	d, err := h.describe(ctx, aws.ToString(last.ServiceDeploymentArn))
	if err != nil {
		return nil, err
	}
	arn := aws.ToString(last.TargetServiceRevisionArn)
	if last.Status == types.ServiceDeploymentStatusRollbackSuccessful {
		if d.Rollback == nil || d.Rollback.ServiceRevisionArn == nil {
			return nil, fmt.Errorf("the deployment %s was rolled back, but ECS does not say to which revision: see it in the console, and run the pipeline again", *last.ServiceDeploymentArn)
		}
		arn = *d.Rollback.ServiceRevisionArn
	}
	revisions, err := h.revisions(ctx, []string{arn})
	if err != nil {
		return nil, err
	}
	c := &completed{arn: aws.ToString(last.ServiceDeploymentArn), finished: aws.ToTime(last.FinishedAt)}
	c.image, c.digest = h.image(revisions[arn])
	c.running, err = h.runs(ctx, d)
	return c, err
}

// runs tells whether the service ran a task when a deployment was completed, or runs one now.
func (h *handler) runs(ctx context.Context, d types.ServiceDeployment) (bool, error) {
	if d.Status == types.ServiceDeploymentStatusSuccessful && d.TargetServiceRevision != nil && d.TargetServiceRevision.RunningTaskCount > 0 {
		return true, nil
	}
	out, err := h.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &h.cluster, Services: []string{h.service}})
	if err != nil {
		return false, fmt.Errorf("read service %s in cluster %s: %w", h.service, h.cluster, err)
	}
	return slices.ContainsFunc(out.Services, func(s types.Service) bool { return s.RunningCount > 0 }), nil
}

// ownDeployment returns the newest deployment of an image that was created since a time, or has not ended, and in words those
// that were created after it, the newest first. Without one it returns nil.
func (h *handler) ownDeployment(ctx context.Context, image string, since time.Time) (own *types.ServiceDeployment, newer []string, err error) {
	found, err := h.list(ctx, since.Add(-maxDelay))
	if err != nil {
		return nil, nil, err
	}
	found = slices.DeleteFunc(found, func(d types.ServiceDeploymentBrief) bool {
		return d.FinishedAt != nil && aws.ToTime(d.CreatedAt).Before(since)
	})
	var arns []string
	for _, d := range found {
		arns = append(arns, aws.ToString(d.TargetServiceRevisionArn))
	}
	revisions, err := h.revisions(ctx, arns)
	if err != nil {
		return nil, nil, err
	}
	for i, d := range found {
		if named, _ := h.image(revisions[arns[i]]); named != image {
			newer = append(newer, fmt.Sprintf("%s of %s", lastPart(aws.ToString(d.ServiceDeploymentArn)), cmp.Or(named, "an unknown image")))
			continue
		}
		described, err := h.describe(ctx, aws.ToString(d.ServiceDeploymentArn))
		return &described, newer, err
	}
	return nil, nil, nil
}

// reason is why a deployment is in its state.
func reason(d types.ServiceDeployment) string {
	var rollback string
	if d.Rollback != nil {
		rollback = aws.ToString(d.Rollback.Reason)
	}
	return cmp.Or(short(rollback), short(aws.ToString(d.StatusReason)), "ECS gives no reason")
}

// stopReasons says why tasks of a deployment's target revision stopped, each reason once. ECS keeps stopped tasks for about
// an hour.
func (h *handler) stopReasons(ctx context.Context, d types.ServiceDeployment) ([]string, error) {
	if d.TargetServiceRevision == nil {
		return nil, nil
	}
	target := aws.ToString(d.TargetServiceRevision.Arn)
	revisions, err := h.revisions(ctx, []string{target})
	if err != nil {
		return nil, err
	}
	tasks, err := h.stoppedTasks(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, task := range tasks {
		// Those that the deployment replaced stopped too, as they should.
		if aws.ToString(task.TaskDefinitionArn) != aws.ToString(revisions[target].TaskDefinition) {
			continue
		}
		if line := stopReason(task); !slices.Contains(lines, line) && len(lines) < maxReasons {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (h *handler) stoppedTasks(ctx context.Context) ([]types.Task, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(h.ecs, &ecs.ListTasksInput{Cluster: &h.cluster, ServiceName: &h.service, DesiredStatus: types.DesiredStatusStopped})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the stopped tasks of service %s: %w", h.service, err)
		}
		arns = append(arns, page.TaskArns...)
	}
	var tasks []types.Task
	for batch := range slices.Chunk(arns, taskPage) {
		out, err := h.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &h.cluster, Tasks: batch})
		if err != nil {
			return nil, fmt.Errorf("read the stopped tasks of service %s: %w", h.service, err)
		}
		tasks = append(tasks, out.Tasks...)
	}
	return tasks, nil
}

func stopReason(task types.Task) string {
	parts := []string{cmp.Or(short(aws.ToString(task.StoppedReason)), "ECS gives no reason")}
	for _, c := range task.Containers {
		if c.ExitCode != nil {
			parts = append(parts, fmt.Sprintf("container %s exited with %d", aws.ToString(c.Name), *c.ExitCode))
		}
		if c.Reason != nil {
			parts = append(parts, fmt.Sprintf("container %s: %s", aws.ToString(c.Name), short(*c.Reason)))
		}
	}
	return strings.Join(parts, ", ")
}
