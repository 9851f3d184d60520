package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

const (
	// The containers of the schema task in the order of their start: mysql waits for the success of fetch.
	fetchContainer = "fetch"
	mysqlContainer = "mysql"

	// stopGrace is how long after its deadline a task may take to reach STOPPED: 30 s until ECS kills the containers,
	// then the removal of the network interface.
	stopGrace = 2 * time.Minute

	// settleTime is how long ECS may not yet know a task that it has just started. Its API is eventually consistent.
	settleTime = time.Minute

	// logDelay is how long after the end of a task its last lines may take to reach CloudWatch Logs.
	logDelay = 20 * time.Second

	// logEvents is how much of the log is read, more than is shown: see tail.
	logEvents = 100

	// reserve is the part of the function's time-out that is kept for the answer.
	reserve = 5 * time.Second
)

type taskRunner interface {
	RunTask(context.Context, *ecs.RunTaskInput, ...func(*ecs.Options)) (*ecs.RunTaskOutput, error)
}

type taskWatcher interface {
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
}

type logReader interface {
	GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error)
}

// failure is a text that is ready for CloudFormation: within maxReason, without control characters and secrets.
type failure string

func (f failure) Error() string { return string(f) }

// invoke adapts a handler to Lambda. Every error, a panic too, leaves as a [failure].
func invoke[T any](log *slog.Logger, handle func(context.Context, event) (T, error)) func(context.Context, json.RawMessage) (T, error) {
	return func(ctx context.Context, raw json.RawMessage) (result T, err error) {
		log := log
		defer func() {
			if v := recover(); v != nil {
				log.ErrorContext(ctx, "panic", "value", safe(fmt.Sprint(v)), "stack", string(debug.Stack()))
				err = fmt.Errorf("panic in the schema gate's function: %v; this is a defect, its stack is in the function's log. A schema task may still be running", v)
			}
			if err == nil {
				return
			}
			var text failure
			if !errors.As(err, &text) {
				text = failure(withTail(err.Error(), nil))
			}
			log.ErrorContext(ctx, "failed", "reason", string(text))
			result, err = *new(T), text
		}()

		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
			defer cancel()
		}
		e, err := decodeEvent(raw)
		if err != nil {
			return result, err
		}
		log = log.With("requestId", e.RequestID, "requestType", string(e.RequestType), "taskArn", e.TaskARN)
		return handle(ctx, e)
	}
}

// starter is the onEvent handler.
type starter struct {
	ecs taskRunner
	log *slog.Logger
}

// onEvent starts the schema task on a Create, and on an Update that changes what decides the schema. A Delete does
// nothing: the data outlives the resource.
func (s starter) onEvent(ctx context.Context, e event) (response, error) {
	// Never another id on an Update: CloudFormation would take that for a replacement and send a Delete.
	r := response{PhysicalResourceID: cmp.Or(e.PhysicalResourceID, "schema-init/"+e.LogicalResourceID)}
	if e.RequestType == cfn.RequestDelete {
		return r, nil
	}
	p, err := parseProperties(e.ResourceProperties)
	if err != nil {
		return response{}, err
	}
	log := s.log.With("requestId", e.RequestID, "schemaHash", p.SchemaHash)
	if e.RequestType == cfn.RequestUpdate && !changed(e.OldResourceProperties, e.ResourceProperties) {
		log.InfoContext(ctx, "schema unchanged, no task needed")
		return r, nil
	}
	arn, err := s.start(ctx, p, e.RequestID)
	if err != nil {
		return response{}, fmt.Errorf("start the schema task: RunTask of %s in cluster %s: %w", p.TaskDefinition, p.Cluster, err)
	}
	r.started = started{TaskARN: arn, Deadline: time.Now().UTC().Truncate(time.Second).Add(p.Timeout)}
	log.InfoContext(ctx, "task started", "taskArn", arn, "deadline", r.Deadline)
	return r, nil
}

func (s starter) start(ctx context.Context, p properties, requestID string) (string, error) {
	out, err := s.ecs.RunTask(ctx, &ecs.RunTaskInput{
		Cluster:        &p.Cluster,
		TaskDefinition: &p.TaskDefinition,
		Count:          aws.Int32(1),
		// A launch type, not the capacity provider FARGATE: it works before the cluster's association with its
		// capacity providers exists, and a one-off task has no strategy that could change.
		LaunchType: types.LaunchTypeFargate,
		// The framework may deliver an event twice; both get the same task.
		ClientToken: &requestID,
		StartedBy:   aws.String("schema-init/" + requestID),
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
			Subnets:        p.Subnets,
			SecurityGroups: p.SecurityGroups,
			AssignPublicIp: types.AssignPublicIpDisabled,
		}},
	})
	if err != nil {
		if hasCode(err, accessDenied) {
			return "", fmt.Errorf("%w; allow the function's role ecs:RunTask on the task definition and iam:PassRole on both of its roles", err)
		}
		return "", fmt.Errorf("%w; correct what ECS names, or deploy again later if it only lacked capacity or was not available", err)
	}
	if len(out.Failures) > 0 {
		return "", fmt.Errorf("ECS started no task: %s; reasons are explained at https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html", failureText(out.Failures))
	}
	if len(out.Tasks) == 0 || aws.ToString(out.Tasks[0].TaskArn) == "" {
		return "", errors.New("ECS answered with no task and no failure; deploy again")
	}
	return *out.Tasks[0].TaskArn, nil
}

// waiter is the isComplete handler. It keeps nothing between the polls: the event carries the task and its deadline.
type waiter struct {
	ecs  taskWatcher
	logs logReader
	log  *slog.Logger
}

// isComplete answers false until the task is STOPPED. It stops the task at the deadline, so that none runs on when the
// operation has failed.
func (w waiter) isComplete(ctx context.Context, e event) (completion, error) {
	if e.RequestType == cfn.RequestDelete || e.TaskARN == "" {
		return completion{IsComplete: true}, nil
	}
	p, err := parseProperties(e.ResourceProperties)
	if err != nil {
		return completion{}, err
	}
	if e.Deadline.IsZero() {
		return completion{}, fmt.Errorf("the event names the task %s but no Deadline, which onEvent sets: deploy both functions from the same archive", e.TaskARN)
	}
	w.log = w.log.With("requestId", e.RequestID, "taskArn", e.TaskARN)

	task, err := w.describe(ctx, p.Cluster, e.TaskARN)
	switch {
	case err != nil && !transient(err):
		return completion{}, w.giveUp(ctx, p, e.TaskARN, fmt.Errorf("read the state of the schema task %s: %w", e.TaskARN, err))
	case err != nil:
		w.log.WarnContext(ctx, "task state unknown", "error", safe(err.Error()))
	case task == nil:
		return w.vanished(ctx, p, e.started)
	case aws.ToString(task.LastStatus) == "STOPPED":
		return w.ended(ctx, p, task)
	}

	now := time.Now()
	switch {
	case now.Before(e.Deadline):
		return completion{}, nil
	case now.Before(e.Deadline.Add(stopGrace)):
		if task == nil || aws.ToString(task.DesiredStatus) != "STOPPED" {
			if err := w.stop(ctx, p, e.TaskARN); err != nil {
				w.log.WarnContext(ctx, "task not stopped yet", "error", safe(err.Error()))
			}
		}
		return completion{}, nil
	case err != nil:
		return completion{}, w.giveUp(ctx, p, e.TaskARN, fmt.Errorf("the schema task %s should have ended within %.0f s, its state cannot be read: %w", e.TaskARN, p.Timeout.Seconds(), err))
	default:
		return completion{}, w.giveUp(ctx, p, e.TaskARN, fmt.Errorf("the schema task %s %s, but is still %s %.0f s later",
			e.TaskARN, stopReason(p), aws.ToString(task.LastStatus), stopGrace.Seconds()))
	}
}

// describe returns nil without an error if ECS does not know the task.
func (w waiter) describe(ctx context.Context, cluster, arn string) (*types.Task, error) {
	out, err := w.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: []string{arn}})
	if err != nil {
		return nil, err
	}
	if len(out.Tasks) > 0 {
		return &out.Tasks[0], nil
	}
	if len(out.Failures) > 0 && aws.ToString(out.Failures[0].Reason) != "MISSING" {
		return nil, errors.New("DescribeTasks: " + failureText(out.Failures))
	}
	return nil, nil
}

func (w waiter) stop(ctx context.Context, p properties, arn string) error {
	w.log.InfoContext(ctx, "stopping the task", "reason", stopReason(p))
	_, err := w.ecs.StopTask(ctx, &ecs.StopTaskInput{Cluster: &p.Cluster, Task: &arn, Reason: aws.String(stopReason(p))})
	return err
}

// stopReason is what ECS shows as the task's stopped reason from then on.
func stopReason(p properties) string {
	return fmt.Sprintf("did not end within %.0f s: was stopped", p.Timeout.Seconds())
}

// giveUp ends the operation with cause while the task may be running, after a last attempt to stop it.
func (w waiter) giveUp(ctx context.Context, p properties, arn string, cause error) error {
	if err := w.stop(ctx, p, arn); err != nil {
		return fmt.Errorf("%w; it may still be running, since stopping it failed (%w): run aws ecs stop-task --cluster %s --task %s", cause, err, p.Cluster, arn)
	}
	return fmt.Errorf("%w; ECS was told to stop it, look at it in the ECS console before you deploy again", cause)
}

// vanished handles a task that ECS does not know: not yet, or no longer.
func (w waiter) vanished(ctx context.Context, p properties, s started) (completion, error) {
	if time.Now().Before(s.Deadline.Add(settleTime - p.Timeout)) {
		return completion{}, nil
	}
	head := fmt.Sprintf("Schema task failed: ECS no longer knows the task (it keeps a stopped one for about an hour), so its exit code is unknown.\n"+
		"Deploy again: files that were applied are not applied twice.\nTask %s", s.TaskARN)
	container := mysqlContainer
	log, err := w.readLog(ctx, p, container, s.TaskARN)
	if len(log) == 0 {
		if fetchLog, fetchErr := w.readLog(ctx, p, fetchContainer, s.TaskARN); len(fetchLog) > 0 {
			container, log, err = fetchContainer, fetchLog, fetchErr
		}
	}
	return completion{}, failure(withTail(head+"\n"+logLine(p, container, s.TaskARN, log, err), log))
}

// ended judges a stopped task. Only exit code 0 of mysql is a success, and only if the task ended by itself: a
// container that is told to stop can exit with 0 as well.
func (w waiter) ended(ctx context.Context, p properties, task *types.Task) (completion, error) {
	mysql := container(task, mysqlContainer)
	if task.StopCode == types.TaskStopCodeEssentialContainerExited && mysql.ExitCode != nil && *mysql.ExitCode == 0 {
		w.log.InfoContext(ctx, "schema applied", "schemaHash", p.SchemaHash)
		return completion{IsComplete: true}, nil
	}
	failed := culprit(task)
	name, arn := *failed.Name, aws.ToString(task.TaskArn)
	log, err := w.readLog(ctx, p, name, arn)
	justEnded := task.StoppedAt != nil && time.Since(*task.StoppedAt) < logDelay
	if len(log) == 0 && failed.ExitCode != nil && justEnded {
		w.log.InfoContext(ctx, "waiting for the log of the failed container", "container", name)
		return completion{}, nil
	}
	return completion{}, failure(withTail(verdict(task, failed)+"\n"+logLine(p, name, arn, log, err), log))
}

// container returns an empty one of that name if the task has none.
func container(task *types.Task, name string) types.Container {
	i := slices.IndexFunc(task.Containers, func(c types.Container) bool { return aws.ToString(c.Name) == name })
	if i < 0 {
		return types.Container{Name: &name}
	}
	return task.Containers[i]
}

// culprit returns the container that explains the end of the task: the first one that failed. Others than our two are
// no concern of the verdict; AWS itself adds some, as for GuardDuty.
func culprit(task *types.Task) types.Container {
	ours := []types.Container{container(task, fetchContainer), container(task, mysqlContainer)}
	for _, failed := range []func(types.Container) bool{
		func(c types.Container) bool { return c.ExitCode != nil && *c.ExitCode != 0 },
		func(c types.Container) bool { return c.ExitCode == nil && aws.ToString(c.Reason) != "" },
	} {
		if i := slices.IndexFunc(ours, failed); i >= 0 {
			return ours[i]
		}
	}
	return ours[1]
}

// readLog returns the newest lines of a container, the oldest first.
func (w waiter) readLog(ctx context.Context, p properties, container, arn string) ([]string, error) {
	in := &cloudwatchlogs.GetLogEventsInput{
		LogGroupName:  &p.LogGroup,
		LogStreamName: aws.String(logStream(p, container, arn)),
		Limit:         aws.Int32(logEvents),
		StartFromHead: aws.Bool(false),
	}
	// An empty page does not mean that the stream is empty.
	for range 5 {
		out, err := w.logs.GetLogEvents(ctx, in)
		if err != nil {
			return nil, err
		}
		if len(out.Events) > 0 {
			lines := make([]string, len(out.Events))
			for i, e := range out.Events {
				lines[i] = aws.ToString(e.Message)
			}
			return lines, nil
		}
		if out.NextBackwardToken == nil || aws.ToString(in.NextToken) == *out.NextBackwardToken {
			break
		}
		in.NextToken = out.NextBackwardToken
	}
	return nil, nil
}

// logStream is the name that the awslogs driver gives the stream of a container.
func logStream(p properties, container, arn string) string {
	return p.LogStreamPrefix + "/" + container + "/" + arn[strings.LastIndex(arn, "/")+1:]
}
