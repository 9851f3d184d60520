package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	taskARN   = "arn:aws:ecs:eu-central-1:111122223333:task/demo-dev/0123456789abcdef0123456789abcdef"
	requestID = "7bfe2d54-7102-4c1d-8b1d-1f1c5c0f3a11"
	interval  = 10 * time.Second
	maxPolls  = 130
)

// cloud is a fake of ECS and CloudWatch Logs. Time is that of the test's bubble.
type cloud struct {
	// task returns the state of the task; since is the time since RunTask.
	task        func(since time.Duration) (*types.Task, error)
	runFailures []types.Failure
	stopErr     func() error
	logs        func(stream string, since time.Duration) ([]string, error)

	runs     []*ecs.RunTaskInput
	tokens   map[string]bool
	stops    []time.Duration
	stop     *ecs.StopTaskInput
	streams  []string
	ranAt    time.Time
	panicked string
}

func (c *cloud) RunTask(_ context.Context, in *ecs.RunTaskInput, _ ...func(*ecs.Options)) (*ecs.RunTaskOutput, error) {
	if c.panicked != "" {
		panic(c.panicked)
	}
	if c.ranAt.IsZero() {
		c.ranAt = time.Now()
	}
	c.runs = append(c.runs, in)
	if c.tokens == nil {
		c.tokens = map[string]bool{}
	}
	c.tokens[*in.ClientToken] = true
	if c.runFailures != nil {
		return &ecs.RunTaskOutput{Failures: c.runFailures}, nil
	}
	return &ecs.RunTaskOutput{Tasks: []types.Task{{TaskArn: aws.String(taskARN)}}}, nil
}

func (c *cloud) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if *in.Cluster != validProperties()["Cluster"] || len(in.Tasks) != 1 || in.Tasks[0] != taskARN {
		return nil, fmt.Errorf("unexpected DescribeTasks of %v in %s", in.Tasks, *in.Cluster)
	}
	task, err := c.task(time.Since(c.ranAt))
	if err != nil {
		return nil, err
	}
	if task == nil {
		return &ecs.DescribeTasksOutput{Failures: []types.Failure{{Arn: aws.String(taskARN), Reason: aws.String("MISSING")}}}, nil
	}
	task.TaskArn = aws.String(taskARN)
	return &ecs.DescribeTasksOutput{Tasks: []types.Task{*task}}, nil
}

func (c *cloud) StopTask(_ context.Context, in *ecs.StopTaskInput, _ ...func(*ecs.Options)) (*ecs.StopTaskOutput, error) {
	if c.stopErr != nil {
		if err := c.stopErr(); err != nil {
			return nil, err
		}
	}
	c.stops, c.stop = append(c.stops, time.Since(c.ranAt)), in
	return &ecs.StopTaskOutput{}, nil
}

func (c *cloud) GetLogEvents(_ context.Context, in *cloudwatchlogs.GetLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	if *in.LogGroupName != "/ecs/demo-dev" || aws.ToBool(in.StartFromHead) {
		return nil, fmt.Errorf("unexpected GetLogEvents of group %s", *in.LogGroupName)
	}
	c.streams = append(c.streams, *in.LogStreamName)
	if c.logs == nil {
		return nil, &logstypes.ResourceNotFoundException{}
	}
	lines, err := c.logs(*in.LogStreamName, time.Since(c.ranAt))
	if err != nil {
		return nil, err
	}
	out := &cloudwatchlogs.GetLogEventsOutput{NextBackwardToken: aws.String("b/end")}
	for _, line := range lines {
		out.Events = append(out.Events, logstypes.OutputLogEvent{Message: aws.String(line)})
	}
	return out, nil
}

// answer is what the Provider framework sends to CloudFormation.
type answer struct {
	Status, Reason, StackId, RequestId, PhysicalResourceId, LogicalResourceId string

	polls int
	took  time.Duration
	logs  string
}

// operate does with an event what the framework of aws-cdk-lib 2.270.0 does
// (custom-resources/lib/provider-framework/runtime/framework.js): it calls onEvent, merges the answer into the event,
// polls isComplete, and wraps an error.
func operate(t *testing.T, c *cloud, request map[string]any) answer {
	t.Helper()
	begin := time.Now()
	var logs bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logs, nil))
	onEvent := lambda.NewHandler(invoke(log, starter{ecs: c, log: log}.onEvent))
	isComplete := lambda.NewHandler(invoke(log, waiter{ecs: c, logs: c, log: log}.isComplete))

	a := answer{
		StackId: request["StackId"].(string), RequestId: request["RequestId"].(string), LogicalResourceId: request["LogicalResourceId"].(string),
	}
	finish := func(status, reason string) answer {
		a.Status, a.Reason, a.took, a.logs = status, reason, time.Since(begin), logs.String()
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(a); err != nil {
			t.Fatal(err)
		}
		if body.Len() > 4096 {
			t.Errorf("the response has %d bytes, CloudFormation takes 4096: %s", body.Len(), body.String())
		}
		return a
	}

	reply, err := onEvent.Invoke(t.Context(), encode(t, request))
	if err != nil {
		a.PhysicalResourceId = "AWSCDK::CustomResourceProviderFramework::CREATE_FAILED"
		return finish("FAILED", frameworkReason(err))
	}
	if err := json.Unmarshal(reply, &request); err != nil { // merges
		t.Fatal(err)
	}
	a.PhysicalResourceId = request["PhysicalResourceId"].(string)
	for a.polls = 1; a.polls <= maxPolls; a.polls++ {
		reply, err := isComplete.Invoke(t.Context(), encode(t, request))
		if err != nil {
			return finish("FAILED", frameworkReason(err))
		}
		var result map[string]any
		if err := json.Unmarshal(reply, &result); err != nil {
			t.Fatal(err)
		}
		if result["IsComplete"] == true {
			return finish("SUCCESS", "SUCCESS")
		}
		if _, ok := result["Data"]; ok {
			t.Fatal(`"Data" is not allowed if "IsComplete" is "False"`)
		}
		time.Sleep(interval)
	}
	return finish("FAILED", "Operation timed out")
}

// frameworkReason is the stack property of the framework's Error, recorded with Node 24: the message, a log link, and
// stack frames, of which V8 keeps ten at most.
func frameworkReason(err error) string {
	return "Error: " + err.Error() + "\n\nLogs: /aws/lambda/demo-dev-service-ServiceSchemaInitIsComplete5B3C1D2E-AbCdEfGhIjKl\n\n" +
		"    at invokeUserFunction (/var/task/framework.js:2:6)\n" +
		"    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)\n" +
		"    at async isComplete (/var/task/framework.js:1:2631)\n" +
		"    at async Object.isComplete (/var/task/cfn-response.js:1:2865)" +
		strings.Repeat("\n    at async Runtime.handleOnce (file:///var/runtime/index.mjs:1206:29)", 6)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func validProperties() map[string]any {
	return map[string]any{
		"ServiceToken":       "arn:aws:lambda:eu-central-1:111122223333:function:framework",
		"ServiceTimeout":     "1800",
		"Cluster":            "arn:aws:ecs:eu-central-1:111122223333:cluster/demo-dev",
		"TaskDefinition":     "arn:aws:ecs:eu-central-1:111122223333:task-definition/demo-dev-schema:7",
		"Subnets":            []any{"subnet-0aa", "subnet-0bb"},
		"SecurityGroups":     []any{"sg-0cc"},
		"LogGroup":           "/ecs/demo-dev",
		"LogStreamPrefix":    "schema",
		"SchemaHash":         "4f53cda18c2baa0c",
		"EngineVersion":      "8.0",
		"DatabaseResourceId": "db-ABCDEFGH",
		"TimeoutSeconds":     "900",
	}
}

func propertiesWith(name string, value any) map[string]any {
	p := validProperties()
	p[name] = value
	if value == nil {
		delete(p, name)
	}
	return p
}

func create() map[string]any {
	return map[string]any{
		"RequestType": "Create", "RequestId": requestID, "ResponseURL": "https://cloudformation.example/?signature=1",
		"StackId":           "arn:aws:cloudformation:eu-central-1:111122223333:stack/demo-dev-service/5b1d2c30-0c5e-11ef-8f1d-0a1b2c3d4e5f",
		"LogicalResourceId": "SchemaInit3F2A9B1C", "ResourceType": "Custom::SchemaInit", "ResourceProperties": validProperties(),
	}
}

func update(before, after map[string]any) map[string]any {
	e := create()
	e["RequestType"], e["PhysicalResourceId"], e["OldResourceProperties"], e["ResourceProperties"] = "Update", "schema-init/SchemaInit3F2A9B1C", before, after
	return e
}

func ran(name string, code int32) types.Container {
	return types.Container{Name: aws.String(name), ExitCode: aws.Int32(code), LastStatus: aws.String("STOPPED")}
}

func neverRan(name, reason string) types.Container {
	return types.Container{Name: aws.String(name), Reason: aws.String(reason), LastStatus: aws.String("STOPPED")}
}

func running() *types.Task {
	return &types.Task{LastStatus: aws.String("RUNNING"), DesiredStatus: aws.String("RUNNING")}
}

func stopped(code types.TaskStopCode, reason string, containers ...types.Container) *types.Task {
	return &types.Task{
		LastStatus: aws.String("STOPPED"), DesiredStatus: aws.String("STOPPED"),
		StopCode: code, StoppedReason: aws.String(reason), Containers: containers,
	}
}

func succeeded() *types.Task {
	return stopped(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", ran("fetch", 0), ran("mysql", 0))
}

// after returns running until delay has passed, then the task that ended at that moment.
func after(delay time.Duration, end *types.Task) func(time.Duration) (*types.Task, error) {
	return func(since time.Duration) (*types.Task, error) {
		if since < delay {
			return running(), nil
		}
		end.StoppedAt = aws.Time(time.Now().Add(delay - since))
		return end, nil
	}
}

func logOf(stream string, lines ...string) func(string, time.Duration) ([]string, error) {
	return func(asked string, _ time.Duration) ([]string, error) {
		if asked != stream {
			return nil, &logstypes.ResourceNotFoundException{}
		}
		return lines, nil
	}
}

const (
	mysqlStream = "schema/mysql/0123456789abcdef0123456789abcdef"
	fetchStream = "schema/fetch/0123456789abcdef0123456789abcdef"
)

func TestCreateRunsTheTaskAndWaitsForItsExitCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{task: after(45*time.Second, succeeded())}
		a := operate(t, c, create())
		if a.Status != "SUCCESS" || a.polls != 6 {
			t.Errorf("status %s after %d polls, want SUCCESS after 6: %s", a.Status, a.polls, a.Reason)
		}
		if want := "schema-init/SchemaInit3F2A9B1C"; a.PhysicalResourceId != want {
			t.Errorf("physical id %q, want %q", a.PhysicalResourceId, want)
		}
		want := []*ecs.RunTaskInput{{
			Cluster:        aws.String("arn:aws:ecs:eu-central-1:111122223333:cluster/demo-dev"),
			TaskDefinition: aws.String("arn:aws:ecs:eu-central-1:111122223333:task-definition/demo-dev-schema:7"),
			Count:          aws.Int32(1),
			LaunchType:     types.LaunchTypeFargate,
			ClientToken:    aws.String(requestID),
			StartedBy:      aws.String("schema-init/" + requestID),
			NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
				Subnets: []string{"subnet-0aa", "subnet-0bb"}, SecurityGroups: []string{"sg-0cc"}, AssignPublicIp: types.AssignPublicIpDisabled,
			}},
		}}
		if diff := cmp.Diff(want, c.runs, cmpopts.IgnoreUnexported(ecs.RunTaskInput{}, types.NetworkConfiguration{}, types.AwsVpcConfiguration{})); diff != "" {
			t.Errorf("RunTask (-want +got):\n%s", diff)
		}
		if len(c.stops) > 0 {
			t.Error("the task was stopped")
		}
		if !strings.Contains(a.logs, `"requestId":"`+requestID+`"`) || !strings.Contains(a.logs, `"taskArn":"`+taskARN+`"`) {
			t.Errorf("the log lacks the request id or the task: %s", a.logs)
		}
	})
}

func TestTheStateBetweenPollsIsTheTaskAndItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		reply, err := lambda.NewHandler(invoke(log, starter{ecs: &cloud{}, log: log}.onEvent)).Invoke(t.Context(), encode(t, create()))
		if err != nil {
			t.Fatal(err)
		}
		// A bubble's clock starts at midnight UTC 2000-01-01.
		want := `{"PhysicalResourceId":"schema-init/SchemaInit3F2A9B1C","TaskArn":"` + taskARN + `","Deadline":"2000-01-01T00:15:00Z"}`
		if string(reply) != want {
			t.Errorf("onEvent returned %s, want %s", reply, want)
		}
	})
}

func TestTasksPerRequest(t *testing.T) {
	remove := func(properties any) map[string]any {
		e := update(nil, nil)
		e["RequestType"], e["ResourceProperties"] = "Delete", properties
		return e
	}
	tests := map[string]struct {
		request map[string]any
		want    int
	}{
		"create":                              {create(), 1},
		"update without a change":             {update(validProperties(), validProperties()), 0},
		"update of the task definition alone": {update(propertiesWith("TaskDefinition", "old"), validProperties()), 0},
		"update of the SQL":                   {update(propertiesWith("SchemaHash", "old"), validProperties()), 1},
		"update of the engine":                {update(propertiesWith("EngineVersion", "5.7"), validProperties()), 1},
		"update of the database":              {update(propertiesWith("DatabaseResourceId", "db-OLD"), validProperties()), 1},
		"rollback to the former SQL":          {update(validProperties(), propertiesWith("SchemaHash", "former")), 1},
		"update from properties without them": {update(map[string]any{}, validProperties()), 1},
		"delete":                              {remove(validProperties()), 0},
		"delete with properties nobody knows": {remove(map[string]any{"Surprise": []any{1.5}}), 0},
		"delete without properties":           {remove(nil), 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{task: after(0, succeeded())}
				a := operate(t, c, test.request)
				if a.Status != "SUCCESS" || len(c.runs) != test.want {
					t.Errorf("status %s with %d tasks, want SUCCESS with %d: %s", a.Status, len(c.runs), test.want, a.Reason)
				}
				if a.PhysicalResourceId != "schema-init/SchemaInit3F2A9B1C" {
					t.Errorf("physical id %q changed", a.PhysicalResourceId)
				}
				if a.polls != 1 || len(c.stops) > 0 {
					t.Errorf("%d polls and %d stopped tasks, want 1 and 0", a.polls, len(c.stops))
				}
			})
		})
	}
}

func TestAnUpdateKeepsTheIdThatTheResourceHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := update(validProperties(), propertiesWith("SchemaHash", "new"))
		e["PhysicalResourceId"] = "an id of an earlier release"
		if a := operate(t, &cloud{task: after(0, succeeded())}, e); a.PhysicalResourceId != "an id of an earlier release" {
			t.Errorf("physical id %q: CloudFormation would send a Delete", a.PhysicalResourceId)
		}
	})
}

func TestARepeatedDeliveryStartsNoSecondTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{task: after(0, succeeded())}
		operate(t, c, create())
		operate(t, c, create())
		if len(c.runs) != 2 || len(c.tokens) != 1 {
			t.Errorf("%d deliveries had %d client tokens, want 2 and 1", len(c.runs), len(c.tokens))
		}
		second := create()
		second["RequestId"] = "00000000-7102-4c1d-8b1d-1f1c5c0f3a11"
		operate(t, c, second)
		if len(c.tokens) != 2 {
			t.Error("another request had the same client token")
		}
	})
}

func TestRunTaskFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{runFailures: []types.Failure{{Reason: aws.String("RESOURCE:ENI"), Detail: aws.String("no addresses left"), Arn: aws.String("arn:x")}}}
		a := operate(t, c, create())
		if a.Status != "FAILED" || a.PhysicalResourceId != "AWSCDK::CustomResourceProviderFramework::CREATE_FAILED" {
			t.Errorf("status %s, id %s", a.Status, a.PhysicalResourceId)
		}
		wantParts(t, a.Reason, "RESOURCE:ENI arn:x no addresses left", "task-definition/demo-dev-schema:7", "cluster/demo-dev")
	})
}

func TestStoppedTasks(t *testing.T) {
	exited := types.TaskStopCodeEssentialContainerExited
	notStarted := types.TaskStopCodeTaskFailedToStart
	essential := "Essential container in task exited"
	tests := map[string]struct {
		task *types.Task
		logs func(string, time.Duration) ([]string, error)
		want []string
		not  []string
	}{
		"a SQL error": {
			task: stopped(exited, essential, ran("fetch", 0), ran("mysql", 1)),
			logs: logOf(mysqlStream, "applying 002_orders.sql", "ERROR 1146 (42S02) at line 3: Table 'app.nope' doesn't exist"),
			want: []string{"container mysql ended with exit code 1", "EssentialContainerExited", essential, taskARN, "/ecs/demo-dev", mysqlStream,
				"its end:\napplying 002_orders.sql\nERROR 1146 (42S02) at line 3: Table 'app.nope' doesn't exist", "Correct what the log names"},
		},
		"a failed fetch": {
			task: stopped(exited, essential, neverRan("mysql", ""), ran("fetch", 4)),
			logs: logOf(fetchStream, "403 Forbidden"),
			want: []string{"container fetch ended with exit code 4", fetchStream, "403 Forbidden"},
			not:  []string{"mysql"},
		},
		"a container that AWS added": {
			task: stopped(exited, essential, ran("aws-guardduty-agent", 9), ran("fetch", 0), ran("mysql", 2)),
			logs: logOf(mysqlStream, "ERROR 2003"),
			want: []string{"container mysql ended with exit code 2", "ERROR 2003"},
			not:  []string{"guardduty"},
		},
		"out of memory": {
			task: stopped(exited, essential, ran("fetch", 0), types.Container{
				Name: aws.String("mysql"), ExitCode: aws.Int32(137), Reason: aws.String("OutOfMemoryError: Container killed due to memory usage")}),
			logs: logOf(mysqlStream, "applying 003_index.sql"),
			want: []string{"exit code 137", "OutOfMemoryError: Container killed", "more memory", "003_index.sql"},
		},
		"an image that cannot be pulled": {
			task: stopped(notStarted, "CannotPullContainerError: pull image manifest has been retried 5 time(s): not found",
				neverRan("fetch", ""), neverRan("mysql", "CannotPullContainerError: pull image manifest has been retried 5 time(s): not found")),
			want: []string{"container mysql has no exit code", "TaskFailedToStart", "retried 5 time(s): not found", "registry", "does not exist"},
			not:  []string{"Container reason"},
		},
		"a secret that cannot be read": {
			task: stopped(notStarted, "ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve secret from asm: AccessDenied",
				neverRan("fetch", ""), neverRan("mysql", "")),
			want: []string{"TaskFailedToStart", "unable to retrieve secret from asm: AccessDenied", "execution role"},
		},
		"a network interface that cannot be made": {
			task: stopped(notStarted, "Timeout waiting for network interface provisioning to complete."),
			want: []string{"container mysql has no exit code", "network interface provisioning", "free addresses"},
		},
		"stopped by somebody": {
			task: stopped(types.TaskStopCodeUserInitiated, "Task stopped by user", ran("fetch", 0), ran("mysql", 143)),
			logs: logOf(mysqlStream, "applying"),
			want: []string{"exit code 143", "UserInitiated: Task stopped by user"},
		},
		"stopped by somebody with exit code 0": {
			task: stopped(types.TaskStopCodeUserInitiated, "Task stopped by user", ran("fetch", 0), ran("mysql", 0)),
			logs: logOf(mysqlStream, "applying"),
			want: []string{"exit code 0", "UserInitiated: Task stopped by user"},
		},
		"mysql not among the containers": {
			task: stopped(exited, essential, ran("web", 0)),
			want: []string{"container mysql has no exit code"},
		},
		"no stop code": {
			task: &types.Task{LastStatus: aws.String("STOPPED"), Containers: []types.Container{ran("mysql", 0)}},
			logs: logOf(mysqlStream, "x"),
			want: []string{"Stop code none given: none given"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{task: after(time.Minute, test.task), logs: test.logs}
				a := operate(t, c, create())
				if a.Status != "FAILED" || a.took != time.Minute {
					t.Errorf("status %s after %s, want FAILED after 1m0s", a.Status, a.took)
				}
				wantParts(t, a.Reason, test.want...)
				for _, part := range test.not {
					if head, _, _ := strings.Cut(a.Reason, "\n\nLogs: "); strings.Contains(head, part) {
						t.Errorf("reason has %q:\n%s", part, head)
					}
				}
				if len(c.stops) > 0 {
					t.Error("an ended task was stopped")
				}
			})
		})
	}
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func TestDeadline(t *testing.T) {
	pending := &types.Task{LastStatus: aws.String("PENDING"), DesiredStatus: aws.String("RUNNING")}
	tests := map[string]struct {
		// the task's state once StopTask was called this long ago
		stopping  func(c *cloud, since time.Duration) *types.Task
		before    *types.Task
		stopErrs  int
		wantStops []time.Duration
		wantTook  time.Duration
		want      []string
	}{
		"a task that hangs is stopped": {
			before: running(),
			stopping: func(c *cloud, since time.Duration) *types.Task {
				if since < 45*time.Second {
					return &types.Task{LastStatus: aws.String("DEPROVISIONING"), DesiredStatus: aws.String("STOPPED")}
				}
				return stopped(types.TaskStopCodeUserInitiated, *c.stop.Reason, ran("fetch", 0), ran("mysql", 137))
			},
			wantStops: []time.Duration{900 * time.Second},
			wantTook:  950 * time.Second,
			want:      []string{"exit code 137", "UserInitiated: did not end within 900 s: was stopped", "waiting for a table lock", "raise TimeoutSeconds"},
		},
		"an exit code of 0 after the stop is no success": {
			before: running(),
			stopping: func(c *cloud, _ time.Duration) *types.Task {
				return stopped(types.TaskStopCodeUserInitiated, *c.stop.Reason, ran("fetch", 0), ran("mysql", 0))
			},
			wantStops: []time.Duration{900 * time.Second},
			wantTook:  910 * time.Second,
			want:      []string{"exit code 0", "did not end within 900 s: was stopped"},
		},
		"a task that stays pending is stopped": {
			before: pending,
			stopping: func(c *cloud, _ time.Duration) *types.Task {
				return stopped(types.TaskStopCodeUserInitiated, *c.stop.Reason, neverRan("fetch", ""), neverRan("mysql", ""))
			},
			wantStops: []time.Duration{900 * time.Second},
			wantTook:  910 * time.Second,
			want:      []string{"no exit code", "did not end within 900 s: was stopped"},
		},
		"a failed stop is repeated": {
			before:   running(),
			stopErrs: 2,
			stopping: func(c *cloud, _ time.Duration) *types.Task {
				return stopped(types.TaskStopCodeUserInitiated, *c.stop.Reason, ran("fetch", 0), ran("mysql", 137))
			},
			wantStops: []time.Duration{920 * time.Second},
			wantTook:  930 * time.Second,
			want:      []string{"did not end within 900 s: was stopped"},
		},
		"a task that cannot be stopped": {
			before: running(),
			stopping: func(*cloud, time.Duration) *types.Task {
				return &types.Task{LastStatus: aws.String("DEACTIVATING"), DesiredStatus: aws.String("STOPPED")}
			},
			wantStops: []time.Duration{900 * time.Second, 1020 * time.Second},
			wantTook:  1020 * time.Second,
			want:      []string{"did not end within 900 s: was stopped, but is still DEACTIVATING 120 s later", "ECS console"},
		},
		"a task of which every stop fails": {
			before:   running(),
			stopErrs: 1000,
			wantTook: 1020 * time.Second,
			want:     []string{"still RUNNING", "stopping it failed (no stop today)", "aws ecs stop-task --cluster arn:aws:ecs:eu-central-1:111122223333:cluster/demo-dev --task " + taskARN},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{logs: logOf(mysqlStream, "waiting for a table lock")}
				c.stopErr = func() error {
					if test.stopErrs--; test.stopErrs >= 0 {
						return errors.New("no stop today")
					}
					return nil
				}
				c.task = func(since time.Duration) (*types.Task, error) {
					if len(c.stops) == 0 {
						return test.before, nil
					}
					return test.stopping(c, since-c.stops[0]), nil
				}
				a := operate(t, c, create())
				if a.Status != "FAILED" || a.took != test.wantTook {
					t.Errorf("status %s after %s, want FAILED after %s", a.Status, a.took, test.wantTook)
				}
				if diff := cmp.Diff(test.wantStops, c.stops); diff != "" {
					t.Errorf("StopTask (-want +got):\n%s", diff)
				}
				wantParts(t, a.Reason, test.want...)
			})
		})
	}
}

func TestATaskThatEndsAtTheDeadlineKeepsItsOwnReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{logs: logOf(mysqlStream, "ERROR 1064")}
		c.task = func(since time.Duration) (*types.Task, error) {
			if since < 920*time.Second {
				return &types.Task{LastStatus: aws.String("DEPROVISIONING"), DesiredStatus: aws.String("STOPPED")}, nil
			}
			return succeeded(), nil
		}
		if a := operate(t, c, create()); a.Status != "SUCCESS" || len(c.stops) > 0 {
			t.Errorf("status %s with %d stops, want SUCCESS without: %s", a.Status, len(c.stops), a.Reason)
		}
	})
}

func TestTasksThatECSDoesNotKnow(t *testing.T) {
	t.Run("not yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &cloud{task: func(since time.Duration) (*types.Task, error) {
				if since < 30*time.Second {
					return nil, nil
				}
				return succeeded(), nil
			}}
			if a := operate(t, c, create()); a.Status != "SUCCESS" {
				t.Errorf("status %s: %s", a.Status, a.Reason)
			}
		})
	})
	for name, logs := range map[string]func(string, time.Duration) ([]string, error){
		mysqlStream: logOf(mysqlStream, "applying 004.sql"),
		fetchStream: logOf(fetchStream, "applying 004.sql"),
	} {
		t.Run("no longer, with the log "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{logs: logs, task: func(since time.Duration) (*types.Task, error) {
					if since < 5*time.Minute {
						return running(), nil
					}
					return nil, nil
				}}
				a := operate(t, c, create())
				if a.Status != "FAILED" || a.took != 5*time.Minute {
					t.Errorf("status %s after %s", a.Status, a.took)
				}
				wantParts(t, a.Reason, "ECS no longer knows the task", taskARN, name+", its end:\napplying 004.sql")
			})
		})
	}
	t.Run("no longer, without a log", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := operate(t, &cloud{task: func(time.Duration) (*types.Task, error) { return nil, nil }}, create())
			wantParts(t, a.Reason, "ECS no longer knows the task", mysqlStream+": does not exist")
		})
	})
}

func TestErrorsOfDescribeTasks(t *testing.T) {
	throttled := &retry.MaxAttemptsError{Attempt: 10, Err: &smithy.GenericAPIError{Code: "ThrottlingException", Message: "rate exceeded"}}
	denied := &retry.MaxAttemptsError{Attempt: 10, Err: &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized"}}
	gone := &smithy.GenericAPIError{Code: "ClusterNotFoundException", Message: "cluster not found"}
	failing := func(err error, until time.Duration) func(time.Duration) (*types.Task, error) {
		return func(since time.Duration) (*types.Task, error) {
			if since < until {
				return nil, err
			}
			return succeeded(), nil
		}
	}
	tests := map[string]struct {
		task       func(time.Duration) (*types.Task, error)
		wantStatus string
		wantTook   time.Duration
		wantStops  int
		want       string
	}{
		"throttling is polled through":           {failing(throttled, time.Minute), "SUCCESS", time.Minute, 0, ""},
		"a slow answer is polled through":        {failing(fmt.Errorf("send: %w", context.DeadlineExceeded), time.Minute), "SUCCESS", time.Minute, 0, ""},
		"a lasting throttling ends at the grace": {failing(throttled, time.Hour), "FAILED", 1020 * time.Second, 13, "should have ended within 900 s, its state cannot be read"},
		"a denied access ends at once":           {failing(denied, time.Hour), "FAILED", 0, 1, "not authorized"},
		"a missing cluster ends at once":         {failing(gone, time.Hour), "FAILED", 0, 1, "cluster not found"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{task: test.task}
				a := operate(t, c, create())
				if a.Status != test.wantStatus || a.took != test.wantTook || len(c.stops) != test.wantStops {
					t.Errorf("%s after %s with %d stops, want %s after %s with %d", a.Status, a.took, len(c.stops), test.wantStatus, test.wantTook, test.wantStops)
				}
				wantParts(t, a.Reason, test.want)
			})
		})
	}
}

func TestLogTail(t *testing.T) {
	failed := func() *types.Task {
		return stopped(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", ran("fetch", 0), ran("mysql", 1))
	}
	tests := map[string]struct {
		logs     func(string, time.Duration) ([]string, error)
		wantTook time.Duration
		want     string
	}{
		"that comes late is waited for": {
			logs: func(_ string, since time.Duration) ([]string, error) {
				if since < 10*time.Second {
					return nil, &logstypes.ResourceNotFoundException{}
				}
				return []string{"ERROR 1064"}, nil
			},
			wantTook: 10 * time.Second,
			want:     "its end:\nERROR 1064",
		},
		"that never comes is not waited for long": {
			wantTook: 20 * time.Second,
			want:     "Log group /ecs/demo-dev, stream " + mysqlStream + ": does not exist",
		},
		"that stays empty": {
			logs:     func(string, time.Duration) ([]string, error) { return nil, nil },
			wantTook: 20 * time.Second,
			want:     mysqlStream + ": is empty",
		},
		"that may not be read": {
			logs:     func(string, time.Duration) ([]string, error) { return nil, errors.New("AccessDeniedException: no") },
			wantTook: 20 * time.Second,
			want:     mysqlStream + ": could not be read: AccessDeniedException: no",
		},
		"is the end of the log, without blank lines and terminal sequences": {
			logs: func(string, time.Duration) ([]string, error) {
				lines := make([]string, 99)
				for i := range lines {
					lines[i] = fmt.Sprintf("line %02d.", i)
				}
				return append(lines, "\x1b[1;31mERROR\x1b[0m \x00at\x07 line\r\n", "", "  "), nil
			},
			want: "its end:\nline 80.\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := operate(t, &cloud{task: after(0, failed()), logs: test.logs}, create())
				if a.Status != "FAILED" || a.took != test.wantTook {
					t.Errorf("status %s after %s, want FAILED after %s", a.Status, a.took, test.wantTook)
				}
				wantParts(t, a.Reason, "container mysql ended with exit code 1", test.want)
				if strings.ContainsAny(a.Reason, "\x1b\x00\x07\r") {
					t.Errorf("control characters in %q", a.Reason)
				}
			})
		})
	}
}

// pages is a log whose newest page is empty.
type pages struct{ asked []string }

func (p *pages) GetLogEvents(_ context.Context, in *cloudwatchlogs.GetLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	p.asked = append(p.asked, aws.ToString(in.NextToken))
	out := &cloudwatchlogs.GetLogEventsOutput{NextBackwardToken: aws.String(fmt.Sprintf("b/%d", len(p.asked)))}
	if len(p.asked) == 3 {
		out.Events = []logstypes.OutputLogEvent{{Message: aws.String("ERROR 1064")}}
	}
	return out, nil
}

func TestAnEmptyPageIsNotTheEndOfTheLog(t *testing.T) {
	p := &pages{}
	lines, err := waiter{logs: p}.readLog(t.Context(), properties{LogGroup: "g", LogStreamPrefix: "p"}, "mysql", taskARN)
	if err != nil || len(lines) != 1 {
		t.Errorf("lines %q, error %v", lines, err)
	}
	if diff := cmp.Diff([]string{"", "b/1", "b/2"}, p.asked); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

func TestAPanicGivesAReason(t *testing.T) {
	a := operate(t, &cloud{panicked: "boom PASSWORD('hunter2')"}, create())
	if a.Status != "FAILED" || strings.Contains(a.Reason+a.logs, "hunter2") {
		t.Errorf("status %s, reason %s, log %s", a.Status, a.Reason, a.logs)
	}
	wantParts(t, a.Reason, "panic in the schema gate's function: boom PASSWORD('***')")
	wantParts(t, a.logs, "handler_test.go")
}

func TestTheAnswerComesBeforeTheFunctionTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := invoke(slog.New(slog.DiscardHandler), func(ctx context.Context, _ event) (completion, error) {
			<-ctx.Done()
			return completion{}, ctx.Err()
		})(ctx, encode(t, create()))
		if err == nil || time.Since(begin) != 55*time.Second {
			t.Errorf("error %v after %s, want one after 55s", err, time.Since(begin))
		}
	})
}

func TestEventsThatNobodySends(t *testing.T) {
	e := create()
	e["TaskArn"] = taskARN
	tests := map[string]struct{ event, want string }{
		"not JSON":            {`{"RequestType":`, "unexpected end of JSON input"},
		"another JSON":        {`["Create"]`, "no custom resource request"},
		"another request":     {`{"RequestType":"Read"}`, `RequestType is "Read", allowed are Create, Update and Delete`},
		"a deadline not time": {`{"RequestType":"Create","TaskArn":"a","Deadline":"noon"}`, `"noon"`},
		"no deadline":         {string(encode(t, e)), "no Deadline"},
	}
	log := slog.New(slog.DiscardHandler)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &cloud{task: after(0, succeeded())}
			_, err := invoke(log, waiter{ecs: c, logs: c, log: log}.isComplete)(t.Context(), json.RawMessage(test.event))
			if err == nil {
				t.Fatal("no error")
			}
			wantParts(t, err.Error(), test.want)
		})
	}
}

func TestTheHandlerNameDecides(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	deletion := update(nil, nil)
	deletion["RequestType"] = "Delete"
	tests := map[string]struct{ reply, err string }{
		"onEvent":    {reply: `{"PhysicalResourceId":"schema-init/SchemaInit3F2A9B1C"}`},
		"isComplete": {reply: `{"IsComplete":true}`},
		"bootstrap":  {err: `handler is "bootstrap", allowed are "onEvent" and "isComplete"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			handler := lambda.NewHandler(newHandler(t.Context(), name, slog.New(slog.DiscardHandler)))
			reply, err := handler.Invoke(t.Context(), encode(t, deletion))
			if string(reply) != test.reply {
				t.Errorf("reply %s, want %s", reply, test.reply)
			}
			if test.err != "" {
				if err == nil {
					t.Fatal("no error")
				}
				wantParts(t, err.Error(), test.err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
