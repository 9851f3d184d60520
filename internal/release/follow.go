package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/rollout"
)

const (
	pollInterval = 5 * time.Second
	// appearTime is how long ECS may take to show a deployment that it has accepted.
	appearTime = 2 * time.Minute
	// deploymentTime is how long a deployment is followed. CodePipeline waits no longer either:
	// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
	deploymentTime = time.Hour
)

// follower follows the deployment of a task definition's revision that was registered for this deployment alone.
type follower struct {
	*Environment
	service        *Service
	taskDefinition string
	image          string
	start          time.Time
	said           string // the last line
}

// follow returns nil when ECS has completed the deployment. The service is as it was right after the update.
func (f *follower) follow(ctx context.Context, updated *types.Service) error {
	arn, err := f.find(ctx, updated)
	if err != nil {
		return f.unsure(err)
	}
	for {
		d, err := f.service.Deployment(ctx, arn)
		if err != nil {
			return f.unsure(err)
		}
		switch d.Status {
		case types.ServiceDeploymentStatusSuccessful:
			f.say("completed")
			fmt.Fprintf(f.out, "\nService %s runs %s on %s.\nThe tag live is moved to it by the environment itself, within about a minute.\n",
				f.service.Name, f.image, plaintext.Count(rollout.RunningTasks(d), "task"))
			return nil
		case types.ServiceDeploymentStatusRollbackSuccessful:
			f.say("rolled back")
			return f.failed(ctx, d, "was rolled back: the service runs what it ran before")
		case types.ServiceDeploymentStatusRollbackFailed:
			return f.failed(ctx, d, "failed, and so did the rollback")
		case types.ServiceDeploymentStatusStopped:
			return f.failed(ctx, d, "was stopped, by somebody or by a newer deployment")
		case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress:
			f.say("rolling back: " + f.service.Reason(d))
		case types.ServiceDeploymentStatusStopRequested:
			f.say("stopping")
		default:
			f.say(progress(d))
		}
		if f.elapsed() >= deploymentTime {
			return f.unsure(fmt.Errorf("the deployment %s has not ended after %s", arn, deploymentTime))
		}
		if err := f.clock.Wait(ctx, pollInterval); err != nil {
			return f.unsure(err)
		}
	}
}

// find waits for the deployment to appear, and returns its ARN.
func (f *follower) find(ctx context.Context, updated *types.Service) (string, error) {
	var after time.Time
	if updated != nil && len(updated.Deployments) > 0 && updated.Deployments[0].CreatedAt != nil {
		// By ECS's own clock, with room for two parts of ECS that differ.
		after = updated.Deployments[0].CreatedAt.Add(-time.Minute)
	}
	for {
		deployments, err := f.service.Deployments(ctx, after)
		if err != nil {
			return "", err
		}
		targets, err := f.service.Targets(ctx, deployments)
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(targets, func(r types.ServiceRevision) bool { return aws.ToString(r.TaskDefinition) == f.taskDefinition }); i >= 0 {
			return aws.ToString(deployments[i].ServiceDeploymentArn), nil
		}
		if f.elapsed() >= appearTime {
			return "", fmt.Errorf("ECS shows no deployment of %s after %s", f.taskDefinition, appearTime)
		}
		f.say("waiting for ECS to begin")
		if err := f.clock.Wait(ctx, pollInterval); err != nil {
			return "", err
		}
	}
}

func (f *follower) elapsed() time.Duration { return f.clock.Now().Sub(f.start) }

// say prints a line of progress, unless the last one said the same.
func (f *follower) say(line string) {
	if line != f.said {
		fmt.Fprintf(f.out, "  %6s  %s\n", f.elapsed().Round(time.Second), line)
		f.said = line
	}
}

func progress(d types.ServiceDeployment) string {
	if t := d.TargetServiceRevision; t != nil && t.RequestedTaskCount > 0 {
		return fmt.Sprintf("%d of %s running", t.RunningTaskCount, plaintext.Count(int(t.RequestedTaskCount), "new task"))
	}
	return strings.ToLower(strings.ReplaceAll(string(d.Status), "_", " "))
}

// unsure is the error when the deployment goes on, or its end is not known.
func (f *follower) unsure(err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	return f.errorf("%w; ECS goes on with the deployment of %s to service %s: see its events in the console, or "+
		"aws ecs describe-services --cluster %s --services %s", err, f.image, f.service.Name, f.service.Cluster, f.service.Name)
}

// failed is the error of a deployment that did not complete, with the reasons of ECS and of the tasks that ECS stopped.
func (f *follower) failed(ctx context.Context, d types.ServiceDeployment, what string) error {
	lines := []string{fmt.Sprintf("the deployment of %s %s", f.image, what), f.service.Reason(d)}
	reasons, err := f.service.StopReasons(ctx, f.taskDefinition, "; ")
	if err != nil {
		lines = append(lines, f.errorf("%w", err).Error())
	}
	for _, reason := range reasons {
		lines = append(lines, "a task stopped: "+reason)
	}
	return f.stopf("%s\nThe application's log is in the log group /ecs/%s.", strings.Join(lines, "\n  "), f.FullName())
}
