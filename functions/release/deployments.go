package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"flask-on-fargate/internal/rollout"
)

// history is how far back deployments are looked at. None lasts as long; ECS keeps them for 90 days:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
const history = 7 * 24 * time.Hour

// completed is a deployment that ECS completed, and the image that it left running.
type completed struct {
	arn      string
	finished time.Time
	image    string // as the task definition names it
	digest   string // the image's own, or that of its platform
	running  bool   // at least one task
}

// rollouts is the service, as its deployments are read.
func (h *handler) rollouts() rollout.Service {
	return rollout.Service{ECS: h.ecs, Cluster: h.cluster, Name: h.service, MaxDetail: maxDetail}
}

// lastCompleted returns the completed deployment with the latest FinishedAt (not CreatedAt), or nil if none was completed within
// history.
func (h *handler) lastCompleted(ctx context.Context) (*completed, error) {
	found, err := h.rollouts().Deployments(ctx, h.clock.Now().Add(-history), types.ServiceDeploymentStatusSuccessful, types.ServiceDeploymentStatusRollbackSuccessful)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	last := slices.MaxFunc(found, func(a, b types.ServiceDeploymentBrief) int {
		return aws.ToTime(a.FinishedAt).Compare(aws.ToTime(b.FinishedAt))
	})
	d, err := h.rollouts().Deployment(ctx, aws.ToString(last.ServiceDeploymentArn))
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
	revisions, err := h.rollouts().Revisions(ctx, arn)
	if err != nil {
		return nil, err
	}
	c := &completed{arn: aws.ToString(last.ServiceDeploymentArn), finished: aws.ToTime(last.FinishedAt)}
	c.image, c.digest = rollout.Image(revisions[0], h.container)
	c.running, err = h.runs(ctx, d)
	return c, err
}

// runs tells whether the service ran a task when a deployment was completed, or runs one now.
func (h *handler) runs(ctx context.Context, d types.ServiceDeployment) (bool, error) {
	if d.Status == types.ServiceDeploymentStatusSuccessful && rollout.RunningTasks(d) > 0 {
		return true, nil
	}
	out, err := h.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &h.cluster, Services: []string{h.service}})
	if err != nil {
		return false, fmt.Errorf("read service %s in cluster %s: %w", h.service, h.cluster, err)
	}
	return slices.ContainsFunc(out.Services, func(s types.Service) bool { return s.RunningCount > 0 }), nil
}

// ownDeployment returns the newest deployment of an image that was created since a time, or that has not ended. It also returns, in
// words, the deployments that were created after it, the newest first. Without such a deployment it returns nil.
func (h *handler) ownDeployment(ctx context.Context, image string, since time.Time) (own *types.ServiceDeployment, newer []string, err error) {
	found, err := h.rollouts().Deployments(ctx, since.Add(-maxDelay))
	if err != nil {
		return nil, nil, err
	}
	found = slices.DeleteFunc(found, func(d types.ServiceDeploymentBrief) bool {
		return d.FinishedAt != nil && aws.ToTime(d.CreatedAt).Before(since)
	})
	targets, err := h.rollouts().Targets(ctx, found)
	if err != nil {
		return nil, nil, err
	}
	for i, d := range found {
		if named, _ := rollout.Image(targets[i], h.container); named != image {
			newer = append(newer, fmt.Sprintf("%s of %s", lastPart(aws.ToString(d.ServiceDeploymentArn)), cmp.Or(named, "an unknown image")))
			continue
		}
		described, err := h.rollouts().Deployment(ctx, aws.ToString(d.ServiceDeploymentArn))
		return &described, newer, err
	}
	return nil, nil, nil
}

// stopReasons says why tasks of a deployment's target revision stopped.
func (h *handler) stopReasons(ctx context.Context, d types.ServiceDeployment) ([]string, error) {
	if d.TargetServiceRevision == nil {
		return nil, nil
	}
	revisions, err := h.rollouts().Revisions(ctx, aws.ToString(d.TargetServiceRevision.Arn))
	if err != nil {
		return nil, err
	}
	return h.rollouts().StopReasons(ctx, aws.ToString(revisions[0].TaskDefinition), ", ")
}
