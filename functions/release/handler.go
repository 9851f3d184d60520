package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/rollout"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

const (
	// reserve is the part of the function's time-out that is kept for the answer, its retries and the notification.
	reserve = 30 * time.Second

	// settleTime is how long after the announcement of a completed deployment the function waits for ECS to list it as
	// such, and settlePause how long between two looks.
	settleTime  = 30 * time.Second
	settlePause = 5 * time.Second

	// clockSkew is how much later than a deployment's end its announcement may be dated.
	clockSkew = time.Minute

	// lastTry is how old an event is at least when Lambda calls with it for the third and last time: one minute after the
	// first failure and two after the second, less a margin for clocks that differ.
	// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
	lastTry = 3*time.Minute - 15*time.Second
)

type jobReporter interface {
	PutJobSuccessResult(context.Context, *codepipeline.PutJobSuccessResultInput, ...func(*codepipeline.Options)) (*codepipeline.PutJobSuccessResultOutput, error)
	PutJobFailureResult(context.Context, *codepipeline.PutJobFailureResultInput, ...func(*codepipeline.Options)) (*codepipeline.PutJobFailureResultOutput, error)
}

type publisher interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
}

type handler struct {
	settings
	misconfigured error // the answer to every event

	ecs       rollout.Reader
	ecr       imageRetagger
	pipeline  jobReporter
	sns       publisher
	artifacts func(events.CodePipelineArtifactCredentials) objectReader
	clock     clock.Clock
	log       *slog.Logger
}

// handle is the Lambda handler. An error makes Lambda call it again, one and two minutes later, which is harmless. A job's
// failure is no error: it is the job's result.
func (h *handler) handle(ctx context.Context, raw json.RawMessage) error {
	log, called := h.log, h.clock.Now()
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		log = log.With("requestId", lc.AwsRequestID)
	}
	e, err := decodeEvent(raw, h.settings)
	if e.job != nil {
		return h.answer(ctx, log.With("job", short(e.job.ID)), e.job, err)
	}
	if h.misconfigured != nil {
		err = h.misconfigured
	}
	if err == nil {
		err = guard(ctx, log, func(ctx context.Context) error {
			if e.pipeline != nil {
				return h.announceEnd(ctx, log, *e.pipeline)
			}
			return h.onDeployment(ctx, log, *e.deployment)
		})
	}
	if err != nil {
		log.ErrorContext(ctx, "failed", "error", err.Error())
		if e.deployment != nil && called.Sub(e.deployment.time) >= lastTry {
			h.announce(ctx, log, fmt.Sprintf("The tag %s was not moved: %s", live, h.service), h.notMovedMessage(err))
		}
	}
	return err
}

// guard runs f with the time that it has, and turns a panic into an error.
func guard(ctx context.Context, log *slog.Logger, f func(context.Context) error) (err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	defer func() {
		if cause := recover(); cause != nil {
			log.ErrorContext(ctx, "panic", "cause", short(fmt.Sprint(cause)), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in the release function: %s; this is a defect, its stack is in the function's log", short(fmt.Sprint(cause)))
		}
	}()
	return f(ctx)
}

// onDeployment makes live follow what ECS completed last. It trusts the announcement in one thing only: once a deployment was
// completed, ECS must come to list it.
func (h *handler) onDeployment(ctx context.Context, log *slog.Logger, e deploymentEvent) error {
	for waited := time.Duration(0); ; waited += settlePause {
		last, err := h.followLive(ctx, log)
		if err != nil {
			return err
		}
		if !e.completed || (last != nil && !last.finished.Before(e.time.Add(-clockSkew))) {
			return nil
		}
		if waited >= settleTime {
			return fmt.Errorf("ECS announced at %s that a deployment of service %s was completed, but lists none that ended then; Lambda calls again, up to twice",
				e.time.Format(time.RFC3339), h.service)
		}
		if err := h.clock.Wait(ctx, settlePause); err != nil {
			return err
		}
	}
}

// answer follows a job's deployment and reports the result. The job stays unanswered only if CodePipeline cannot be reached,
// and then Lambda calls again.
func (h *handler) answer(ctx context.Context, log *slog.Logger, job *events.CodePipelineJob, failure error) error {
	var result outcome
	failure = errors.Join(h.misconfigured, failure)
	if failure == nil {
		failure = guard(ctx, log, func(ctx context.Context) (err error) {
			result, err = h.follow(ctx, log, job)
			return err
		})
	}
	err := h.report(ctx, log, job, result, failure)
	var over *types.InvalidJobStateException
	var unknown *types.JobNotFoundException
	if errors.As(err, &over) || errors.As(err, &unknown) {
		log.WarnContext(ctx, "the job has ended without this result: was its execution stopped?", "error", err.Error())
		return nil
	}
	if err != nil {
		log.ErrorContext(ctx, "the job is not answered", "error", err.Error())
		return fmt.Errorf("report the result of job %s: %w", short(job.ID), err)
	}
	if failure != nil {
		h.announce(ctx, log, "Release failed: "+h.service, h.failureMessage(failure))
	}
	return nil
}

func (h *handler) report(ctx context.Context, log *slog.Logger, job *events.CodePipelineJob, result outcome, failure error) error {
	if failure != nil {
		log.ErrorContext(ctx, "job failed", "error", failure.Error())
		_, err := h.pipeline.PutJobFailureResult(ctx, &codepipeline.PutJobFailureResultInput{
			JobId:          &job.ID,
			FailureDetails: &types.FailureDetails{Type: types.FailureTypeJobFailed, Message: aws.String(h.failureMessage(failure))},
		})
		return err
	}
	log.InfoContext(ctx, "job answered", "summary", result.summary, "ended", result.ended)
	in := &codepipeline.PutJobSuccessResultInput{JobId: &job.ID, ExecutionDetails: &types.ExecutionDetails{}}
	if result.summary != "" {
		in.ExecutionDetails.Summary = aws.String(plaintext.Cut(plaintext.OneLine(result.summary), maxMessage))
	}
	if result.id != "" {
		in.ExecutionDetails.ExternalExecutionId = &result.id
	}
	if result.token != "" {
		in.ContinuationToken = &result.token
	}
	_, err := h.pipeline.PutJobSuccessResult(ctx, in)
	return err
}

// failureMessage keeps the link whole, however long the error is.
func (h *handler) failureMessage(failure error) string {
	if h.misconfigured != nil {
		return plaintext.Cut(plaintext.OneLine(failure.Error()), maxMessage) // there is nothing to link to
	}
	link := " " + h.deploymentsURL()
	return plaintext.Cut(plaintext.OneLine(failure.Error()), max(maxMessage-len(link), maxDetail)) + link
}

// notMovedMessage says what to do after the last try. The call in it has an event without a time, so that the function does not
// wait for a deployment that ended then.
func (h *handler) notMovedMessage(failure error) string {
	region, cluster := h.clusterParts()
	return fmt.Sprintf("The tag %[1]s of repository %[2]s could not follow the last completed deployment of service %[3]s: %[4]s\n\n"+
		"%[1]s may still name the image before. Then the next deploy of the infrastructure would bring that image back.\n\n"+
		"Correct the cause. Then call the function again, which changes nothing but %[1]s:\n"+
		"aws lambda invoke --region %[11]s --function-name %[5]s --cli-binary-format raw-in-base64-out --payload '"+
		`{"source":"aws.ecs","detail-type":%[6]q,"resources":[%[7]q],"detail":{"eventName":%[8]q}}`+"' /dev/stdout\n\n"+
		"Or start a deployment of the image that the service's task definition names. %[1]s follows it:\n"+
		"aws ecs update-service --region %[11]s --force-new-deployment --cluster %[9]s --service %[3]s\n\n"+
		"Deployments: %[10]s",
		live, h.repository, h.service, plaintext.Cut(plaintext.OneLine(failure.Error()), maxMessage),
		lambdacontext.FunctionName, deploymentChange, h.serviceARN(), deploymentFailed, cluster, h.deploymentsURL(), region)
}

// announceEnd says that an execution of the pipeline has failed, and that the stage in which it was is free again.
func (h *handler) announceEnd(ctx context.Context, log *slog.Logger, e pipelineEvent) error {
	log = log.With("pipeline", short(e.name), "execution", short(e.execution))
	return h.publish(ctx, log, "Pipeline failed: "+e.name, fmt.Sprintf("Execution %s of pipeline %s has failed and has ended. Its stage is free again: the next run can start.\n"+
		"Which action failed, and why: %s", short(e.execution), short(e.name), h.executionURL(short(e.name), short(e.execution))))
}

// announce is publish where the result must not depend on it.
func (h *handler) announce(ctx context.Context, log *slog.Logger, title, text string) {
	if err := h.publish(ctx, log, title, text); err != nil {
		log.ErrorContext(ctx, "not announced", "error", err.Error())
	}
}

func (h *handler) publish(ctx context.Context, log *slog.Logger, title, text string) error {
	if h.topic == "" {
		log.InfoContext(ctx, "nothing announced", "why", "no topic is configured")
		return nil
	}
	if _, err := h.sns.Publish(ctx, &sns.PublishInput{TopicArn: &h.topic, Subject: aws.String(subject(title)), Message: &text}); err != nil {
		return fmt.Errorf("publish to %s: %w", h.topic, err)
	}
	log.InfoContext(ctx, "announced", "topic", h.topic)
	return nil
}
