package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// event is what called the function. One of its parts is set.
type event struct {
	job        *events.CodePipelineJob // of the Release action
	deployment *deploymentEvent
	pipeline   *pipelineEvent
}

// deploymentEvent says that a deployment of the service ended. What ended how, ECS is asked: events are late, doubled and
// in any order.
type deploymentEvent struct {
	completed bool // else it failed
	time      time.Time
}

// pipelineEvent says that an execution of the pipeline failed.
type pipelineEvent struct {
	name, execution string
}

// The events of https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html and
// https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
const (
	deploymentChange    = "ECS Deployment State Change"
	deploymentCompleted = "SERVICE_DEPLOYMENT_COMPLETED"
	deploymentFailed    = "SERVICE_DEPLOYMENT_FAILED"
)

// decodeEvent tells the events apart by their shape. A job that has an id is returned beside the error too, to be answered.
// No error quotes the event, since a job's holds credentials.
func decodeEvent(raw []byte, s settings) (event, error) {
	var job struct {
		Raw json.RawMessage `json:"CodePipeline.job"`
	}
	if err := json.Unmarshal(raw, &job); err != nil {
		return event{}, fmt.Errorf("the event is no JSON object: %w; only CodePipeline and EventBridge may call this function", err)
	}
	if job.Raw != nil {
		return decodeJob(job.Raw)
	}
	var e events.CloudWatchEvent
	if err := json.Unmarshal(raw, &e); err != nil {
		return event{}, fmt.Errorf("the event is neither a job of CodePipeline nor an event of EventBridge: %w", err)
	}
	switch {
	case e.Source == "aws.ecs" && e.DetailType == deploymentChange:
		return decodeDeployment(e, s)
	case e.Source == events.CodePipelineEventSource && e.DetailType == events.CodePipelineExecutionEventDetailType:
		return decodePipeline(e)
	default:
		return event{}, fmt.Errorf("the event has source %q and detail-type %q; allowed are jobs of CodePipeline, %q of aws.ecs and %q of %s: correct the rule that sent it",
			short(e.Source), short(e.DetailType), deploymentChange, events.CodePipelineExecutionEventDetailType, events.CodePipelineEventSource)
	}
}

func decodeJob(raw []byte) (event, error) {
	var job events.CodePipelineJob
	if err := json.Unmarshal(raw, &job); err != nil {
		var id struct {
			ID string `json:"id"`
		}
		err = fmt.Errorf("the job of CodePipeline cannot be read: %w", err)
		if json.Unmarshal(raw, &id) != nil || id.ID == "" {
			return event{}, err
		}
		return event{job: &events.CodePipelineJob{ID: id.ID}}, err
	}
	if job.ID == "" {
		return event{}, errors.New("the job of CodePipeline has no id, so it cannot be answered")
	}
	return event{job: &job}, nil
}

func decodeDeployment(e events.CloudWatchEvent, s settings) (event, error) {
	var detail struct {
		EventName string `json:"eventName"`
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return event{}, fmt.Errorf("the detail of the event %q cannot be read: %w", deploymentChange, err)
	}
	if !slices.Contains(e.Resources, s.serviceARN()) {
		return event{}, fmt.Errorf("the event is about %s, want %s: correct the rule that sent it", short(fmt.Sprintf("%q", e.Resources)), s.serviceARN())
	}
	switch detail.EventName {
	case deploymentCompleted, deploymentFailed:
		return event{deployment: &deploymentEvent{completed: detail.EventName == deploymentCompleted, time: e.Time}}, nil
	default:
		return event{}, fmt.Errorf("the event's name is %q, allowed are %s and %s: correct the rule that sent it", short(detail.EventName), deploymentCompleted, deploymentFailed)
	}
}

func decodePipeline(e events.CloudWatchEvent) (event, error) {
	var detail struct {
		Pipeline    string `json:"pipeline"`
		ExecutionID string `json:"execution-id"`
		State       string `json:"state"`
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return event{}, fmt.Errorf("the detail of the event %q cannot be read: %w", e.DetailType, err)
	}
	if detail.State != string(events.CodePipelineStateFailed) || detail.Pipeline == "" || detail.ExecutionID == "" {
		return event{}, fmt.Errorf("the event says that execution %q of pipeline %q is %q, allowed is only %s, of a named execution and pipeline: correct the rule that sent it",
			short(detail.ExecutionID), short(detail.Pipeline), short(detail.State), events.CodePipelineStateFailed)
	}
	return event{pipeline: &pipelineEvent{name: detail.Pipeline, execution: detail.ExecutionID}}, nil
}
