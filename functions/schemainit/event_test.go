package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestProperties(t *testing.T) {
	p, err := parseProperties(validProperties())
	if err != nil {
		t.Fatal(err)
	}
	if p.Timeout != 15*time.Minute || p.DatabaseResourceID != "db-ABCDEFGH" || p.LogStreamPrefix != "schema" {
		t.Errorf("unexpected %+v", p)
	}
	for _, name := range []string{"Cluster", "TaskDefinition", "Subnets", "SecurityGroups", "LogGroup", "LogStreamPrefix", "SchemaHash", "EngineVersion", "DatabaseResourceId", "TimeoutSeconds"} {
		if _, err := parseProperties(propertiesWith(name, nil)); err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s is not required: %v", name, err)
		}
	}
	for _, name := range []string{"ServiceToken", "ServiceTimeout"} {
		if _, err := parseProperties(propertiesWith(name, nil)); err != nil {
			t.Errorf("%s is required: %v", name, err)
		}
	}
}

func TestPropertyErrors(t *testing.T) {
	tests := map[string]struct {
		name  string
		value any
		want  string
	}{
		"an unknown property":                      {"Command", "rm", "Command is unknown: remove it"},
		"a cluster by name":                        {"Cluster", "demo-dev", `Cluster is "demo-dev": set an ARN of the form arn:aws:ecs:<region>:<account>:cluster/<name>`},
		"a task definition of another service":     {"TaskDefinition", "arn:aws:batch:eu-central-1:111122223333:job-definition/x:1", "TaskDefinition is "},
		"a cluster that is a task definition":      {"Cluster", "arn:aws:ecs:eu-central-1:111122223333:task-definition/x:1", "Cluster is "},
		"a blank text":                             {"SchemaHash", " ", `SchemaHash is " ": set a text that is not empty`},
		"a number where a text belongs":            {"EngineVersion", 8.0, "EngineVersion is 8: set a text"},
		"one subnet as a text":                     {"Subnets", "subnet-0aa", `Subnets is "subnet-0aa": set a list of 1 to 16 ids`},
		"no subnet":                                {"Subnets", []any{}, "Subnets is []"},
		"more security groups than ECS takes":      {"SecurityGroups", []any{"sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "sg-6"}, "1 to 5 ids"},
		"a security group where a subnet belongs":  {"Subnets", []any{"subnet-0aa", "sg-0cc"}, `Subnets[1] is "sg-0cc": set an id of the form subnet-…`},
		"a subnet that is a list":                  {"Subnets", []any{[]any{"subnet-0aa"}}, `Subnets[0] is ["subnet-0aa"]`},
		"a time-out with a unit":                   {"TimeoutSeconds", "15m", `TimeoutSeconds is "15m": set whole seconds from 60 to 1500`},
		"a time-out as a number":                   {"TimeoutSeconds", 900.0, "TimeoutSeconds is 900"},
		"a time-out shorter than a start":          {"TimeoutSeconds", "59", "from 60 to 1500"},
		"a time-out that ServiceTimeout cuts":      {"TimeoutSeconds", "1501", "from 60 to 1500"},
		"a ServiceTimeout without room for a task": {"ServiceTimeout", "359", `ServiceTimeout is "359": set whole seconds from 360 to 3600`},
		"a ServiceTimeout beyond an hour":          {"ServiceTimeout", "3601", "from 360 to 3600"},
		"a value of any length":                    {"LogGroup", map[string]any{"x": strings.Repeat("y", 9000)}, "…: set a text"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseProperties(propertiesWith(test.name, test.value))
			if err == nil {
				t.Fatal("no error")
			}
			wantParts(t, err.Error(), "properties of Custom::SchemaInit: ", test.want)
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("%d further errors: %v", n, err)
			}
		})
	}
}

func TestAllPropertyErrorsComeAtOnce(t *testing.T) {
	_, err := parseProperties(map[string]any{"Subnet": "x", "Cluster": "x"})
	if err == nil {
		t.Fatal("no error")
	}
	wantParts(t, err.Error(), "Cluster is", "TaskDefinition is missing", "Subnets is missing", "TimeoutSeconds is missing", "Subnet is unknown")
}

func TestAnUnchangedSchemaStillHasItsPropertiesValidated(t *testing.T) {
	a := operate(t, &cloud{}, update(validProperties(), propertiesWith("Cluster", nil)))
	if a.Status != "FAILED" {
		t.Errorf("status %s", a.Status)
	}
	wantParts(t, a.Reason, "Cluster is missing: set it")
}

// checkFailure fails the test unless err, if there is one, is fit for CloudFormation.
func checkFailure(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if n := jsonLen(text); n > maxReason || n == 0 {
		t.Errorf("the failure has %d bytes of JSON: %q", n, text)
	}
	if !utf8.ValidString(text) {
		t.Errorf("the failure is not UTF-8: %q", text)
	}
	if strings.HasPrefix(text, "panic ") {
		t.Error(text)
	}
}

func fuzzSeeds(f *testing.F) {
	withTask := create()
	withTask["TaskArn"], withTask["Deadline"] = taskARN, "2000-01-01T00:15:00Z"
	for _, e := range []any{create(), withTask, update(validProperties(), propertiesWith("SchemaHash", "x")), map[string]any{"RequestType": "Delete"}} {
		seed, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"RequestType":"Update","ResourceProperties":{"Subnets":[null,{}],"TimeoutSeconds":"99999999999999999999"},"OldResourceProperties":{"SchemaHash":[]}}`))
	f.Add([]byte(`null`))
}

func FuzzOnEvent(f *testing.F) {
	fuzzSeeds(f)
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &cloud{}
		r, err := invoke(log, starter{ecs: c, log: log}.onEvent)(context.Background(), raw)
		checkFailure(t, err)
		if (len(c.runs) > 0) != (r.TaskARN != "") || r.Deadline.IsZero() != (r.TaskARN == "") {
			t.Errorf("%d tasks started, answer %+v", len(c.runs), r)
		}
	})
}

func FuzzIsComplete(f *testing.F) {
	fuzzSeeds(f)
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &cloud{task: func(time.Duration) (*types.Task, error) {
			return stopped(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", ran("mysql", 1)), nil
		}}
		r, err := invoke(log, waiter{ecs: c, logs: c, log: log}.isComplete)(context.Background(), raw)
		checkFailure(t, err)
		e, _ := decodeEvent(raw)
		if done := e.RequestType == cfn.RequestDelete || e.RequestType != "" && e.TaskARN == ""; r.IsComplete != done || done == (err != nil) {
			t.Errorf("answer %+v, error %v for a task that failed", r, err)
		}
	})
}
