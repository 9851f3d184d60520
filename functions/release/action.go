package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

const (
	// slack is how long before the first call of a job its deployment may have been created. The actions of a stage are
	// started together, but each by itself: the deploy action may have updated the service while this function was still
	// being loaded. Besides, ECS has another clock.
	//
	// So a deployment of the same image that was created before the first call may belong to the run before, if both deploy a
	// tag such as latest or if a stage is retried. Its end therefore counts only if no newer deployment appears for as long
	// after the first call, unless it is so young and was seen in progress.
	slack = time.Minute

	// maxDelay is how much later than that a job's first call may come, if Lambda was throttled, and still find a deployment
	// that has not ended.
	maxDelay = 20 * time.Minute

	// appearTime is how long after the first call the deployment may take to appear. All that the deploy action does before is
	// to register a task definition.
	appearTime = 5 * time.Minute

	// followMargin is how much longer than the deploy action a job is continued: the two do not begin at the same moment, and
	// how often CodePipeline calls is not documented.
	followMargin = 2 * time.Minute
)

// progress is the state of a job between its calls, in its continuation token: CodePipeline takes 2,048 characters,
// https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PutJobSuccessResult.html
type progress struct {
	Began time.Time `json:"began"`           // the first call
	Since time.Time `json:"since"`           // an earlier deployment is not this run's
	Image string    `json:"image,omitempty"` // the one that the run deploys, once it is known
	Seen  bool      `json:"seen,omitempty"`  // its deployment was in progress, and no older than slack
}

// outcome is that of one look at a deployment that has not failed.
type outcome struct {
	ended   bool
	token   string // the continuation token, unless ended
	summary string // what the pipeline shows
	id      string // ARN of the deployment, if it has appeared
}

// follow looks once at the deployment of the run that a job belongs to. If it was not completed, the error says why.
func (h *handler) follow(ctx context.Context, log *slog.Logger, job *events.CodePipelineJob) (outcome, error) {
	p := progress{Began: h.clock.Now().UTC(), Since: h.clock.Now().UTC().Add(-slack)}
	if token := job.Data.ContinuationToken; token != "" {
		p = progress{}
		if err := json.Unmarshal([]byte(token), &p); err != nil || p.Began.IsZero() {
			return outcome{}, errors.New("the job's continuation token is not one of this function: run the pipeline again")
		}
	}
	result, err := h.look(ctx, log, job, &p)
	if err != nil && !transient(err) {
		return outcome{}, err
	}
	if err != nil {
		log.WarnContext(ctx, "looked in vain", "error", err.Error())
	}
	if err == nil && result.ended {
		return result, nil
	}
	if limit := h.deployTimeout + followMargin; h.clock.Now().Sub(p.Began) > limit {
		return outcome{}, fmt.Errorf("the deployment of %s has not ended within %s: %s; see in the console what it waits for",
			cmp.Or(p.Image, "this run"), limit, cmp.Or(errorText(err), result.summary))
	}
	token, err := json.Marshal(p)
	result.token = string(token)
	return result, err
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// look fills in what it learns about the progress of a run.
func (h *handler) look(ctx context.Context, log *slog.Logger, job *events.CodePipelineJob, p *progress) (result outcome, err error) {
	if p.Image == "" {
		if p.Image, err = h.readImage(ctx, job); err != nil {
			return outcome{}, err
		}
	}
	d, newer, err := h.ownDeployment(ctx, p.Image, p.Since)
	if err != nil {
		return outcome{}, err
	}
	if d == nil {
		if limit := min(appearTime, h.deployTimeout); h.clock.Now().Sub(p.Began) > limit {
			return outcome{}, fmt.Errorf("no deployment of %s to service %s appeared within %s: see the error of the Deploy action, correct it, and run the pipeline again; "+
				"if it has none, retry the whole stage, not this action alone",
				p.Image, h.service, limit)
		}
		return outcome{summary: "waiting for the deployment of " + p.Image}, nil
	}
	created := aws.ToTime(d.CreatedAt)
	ended := d.Status != types.ServiceDeploymentStatusPending && d.Status != types.ServiceDeploymentStatusInProgress
	if !ended && created.Before(p.Since) {
		p.Since = created
	}
	p.Seen = p.Seen || !ended && !created.Before(p.Began.Add(-slack))
	log.InfoContext(ctx, "deployment", "deployment", aws.ToString(d.ServiceDeploymentArn), "image", p.Image, "status", string(d.Status))
	if ended && !p.Seen && created.Before(p.Began) && h.clock.Now().Sub(p.Began) <= slack {
		return outcome{summary: fmt.Sprintf("waiting for the deployment of %s: %s may be another run's", p.Image, lastPart(aws.ToString(d.ServiceDeploymentArn)))}, nil
	}
	result = outcome{id: aws.ToString(d.ServiceDeploymentArn)}
	what := fmt.Sprintf("deployment %s of %s", lastPart(result.id), p.Image)
	switch d.Status {
	case types.ServiceDeploymentStatusSuccessful:
		result, err = h.succeeded(ctx, log, *d, what)
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress, types.ServiceDeploymentStatusRollbackSuccessful:
		err = h.failed(ctx, *d, what+" is rolled back")
	case types.ServiceDeploymentStatusRollbackFailed:
		err = h.failed(ctx, *d, what+" failed, and so did the rollback")
	case types.ServiceDeploymentStatusStopRequested, types.ServiceDeploymentStatusStopped:
		how := " was stopped"
		if len(newer) > 0 {
			how = fmt.Sprintf(" was overtaken by deployment %s and stopped", newer[0])
		}
		err = h.failed(ctx, *d, what+how)
	default:
		result.summary = fmt.Sprintf("%s: %s", what, d.Status)
	}
	return result, err
}

// succeeded moves live after the run's own deployment was completed.
func (h *handler) succeeded(ctx context.Context, log *slog.Logger, d types.ServiceDeployment, what string) (outcome, error) {
	result := outcome{ended: true, id: aws.ToString(d.ServiceDeploymentArn)}
	running, err := h.runs(ctx, d)
	if err != nil {
		return outcome{}, err
	}
	if !running {
		_, cluster := h.clusterParts()
		return outcome{}, fmt.Errorf("%s was completed with no running task, so nothing shows that the image works, and %s stays as it is: start the service, "+
			"which deploys the image again: aws ecs update-service --force-new-deployment --desired-count 1 --cluster %s --service %s", what, live, cluster, h.service)
	}
	last, err := h.followLive(ctx, log)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("%s was completed, but %s may not name its image: %w", what, live, err)
	case last == nil || last.finished.Before(aws.ToTime(d.FinishedAt)):
		// One part of ECS knows already that it has ended, and another does not.
		result.ended, result.summary = false, what+": completed, waiting for the list of deployments to show it"
	case last.arn != result.id:
		result.summary = fmt.Sprintf("%s was completed; %s follows the newer deployment %s of %s", what, live, lastPart(last.arn), last.image)
	default:
		result.summary = fmt.Sprintf("%s was completed; %s names it", what, live)
	}
	return result, nil
}

// failed is the error of a deployment that was not completed, with the reasons of ECS and of the tasks that ECS stopped.
func (h *handler) failed(ctx context.Context, d types.ServiceDeployment, what string) error {
	reasons, err := h.stopReasons(ctx, d)
	if err != nil {
		// The reasons are of use, the verdict does not depend on them.
		reasons = []string{"their reasons could not be read: " + short(err.Error())}
	}
	text := what + ": " + h.rollouts().Reason(d)
	if len(reasons) > 0 {
		text += ". Stopped tasks: " + strings.Join(reasons, "; ")
	}
	return errors.New(text)
}
