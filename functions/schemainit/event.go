package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

const (
	// minTimeout leaves Fargate the time to place the task and to pull its images.
	minTimeout = 60 * time.Second

	// timeoutMargin is what ServiceTimeout must leave after the task's own time: for the start with its retries, for
	// stopping the task (stopGrace), for its log, and for the polls between.
	timeoutMargin = 300 * time.Second

	// maxServiceTimeout is CloudFormation's limit and its default.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
	maxServiceTimeout = 3600 * time.Second

	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html
	maxSubnets        = 16
	maxSecurityGroups = 5
)

// event is CloudFormation's request as the Provider framework hands it on. For isComplete the framework adds what
// onEvent returned.
type event struct {
	cfn.Event
	started
}

// started is the state between the polls. It is empty if no task was needed.
type started struct {
	TaskARN  string    `json:"TaskArn,omitempty"`
	Deadline time.Time `json:"Deadline,omitzero"` // RFC 3339
}

// response is onEvent's answer.
type response struct {
	PhysicalResourceID string `json:"PhysicalResourceId"`
	started
}

// completion is isComplete's answer. It has no Data: the framework refuses Data beside a false IsComplete.
type completion struct {
	IsComplete bool
}

func decodeEvent(raw []byte) (event, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return event{}, fmt.Errorf("the event is no custom resource request of CloudFormation: %w; only the Provider framework may call this function", err)
	}
	switch e.RequestType {
	case cfn.RequestCreate, cfn.RequestUpdate, cfn.RequestDelete:
		return e, nil
	default:
		return event{}, fmt.Errorf("the event's RequestType is %q, allowed are Create, Update and Delete; only the Provider framework may call this function", e.RequestType)
	}
}

// properties are those of Custom::SchemaInit. All are required.
type properties struct {
	Cluster            string   // ARN
	TaskDefinition     string   // ARN, with or without revision
	Subnets            []string // ids
	SecurityGroups     []string // ids
	LogGroup           string   // name
	LogStreamPrefix    string   // awslogs-stream-prefix of both containers
	SchemaHash         string
	EngineVersion      string
	DatabaseResourceID string
	Timeout            time.Duration // TimeoutSeconds: from the start of the task until it is stopped
}

// parseProperties reports everything that is wrong at once.
func parseProperties(values map[string]any) (properties, error) {
	r := propertyReader{values: maps.Clone(values)}
	// CloudFormation itself uses these two; ServiceTimeout also bounds TimeoutSeconds.
	delete(r.values, "ServiceToken")
	serviceTimeout := maxServiceTimeout
	if _, ok := r.values["ServiceTimeout"]; ok {
		serviceTimeout = r.seconds("ServiceTimeout", minTimeout+timeoutMargin, maxServiceTimeout)
	}
	p := properties{
		Cluster:            r.ecsARN("Cluster", "cluster/"),
		TaskDefinition:     r.ecsARN("TaskDefinition", "task-definition/"),
		Subnets:            r.ids("Subnets", "subnet-", maxSubnets),
		SecurityGroups:     r.ids("SecurityGroups", "sg-", maxSecurityGroups),
		LogGroup:           r.text("LogGroup"),
		LogStreamPrefix:    r.text("LogStreamPrefix"),
		SchemaHash:         r.text("SchemaHash"),
		EngineVersion:      r.text("EngineVersion"),
		DatabaseResourceID: r.text("DatabaseResourceId"),
		Timeout:            r.seconds("TimeoutSeconds", minTimeout, serviceTimeout-timeoutMargin),
	}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		r.fail("%s is unknown: remove it", name)
	}
	if len(r.errs) > 0 {
		return properties{}, fmt.Errorf("properties of Custom::SchemaInit: %w", errors.Join(r.errs...))
	}
	return p, nil
}

// changed says whether the schema must be applied again. The other properties only say where the task runs.
func changed(before, after map[string]any) bool {
	return slices.ContainsFunc([]string{"SchemaHash", "EngineVersion", "DatabaseResourceId"}, func(name string) bool {
		was, ok := before[name].(string)
		return !ok || was != after[name]
	})
}

// propertyReader takes one property after the other out of values and collects the errors.
type propertyReader struct {
	values map[string]any
	errs   []error
}

func (r *propertyReader) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *propertyReader) take(name string) (any, bool) {
	value, ok := r.values[name]
	delete(r.values, name)
	if !ok {
		r.fail("%s is missing: set it", name)
	}
	return value, ok
}

func (r *propertyReader) text(name string) string {
	value, ok := r.take(name)
	if !ok {
		return ""
	}
	text, ok := value.(string)
	if !ok || strings.TrimSpace(text) == "" {
		r.fail("%s is %s: set a text that is not empty", name, quote(value))
	}
	return text
}

func (r *propertyReader) ecsARN(name, resource string) string {
	value, ok := r.take(name)
	if !ok {
		return ""
	}
	text, _ := value.(string)
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "ecs" || !strings.HasPrefix(parsed.Resource, resource) {
		r.fail("%s is %s: set an ARN of the form arn:aws:ecs:<region>:<account>:%s<name>", name, quote(value), resource)
	}
	return text
}

func (r *propertyReader) ids(name, prefix string, limit int) []string {
	value, ok := r.take(name)
	if !ok {
		return nil
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 || len(list) > limit {
		r.fail("%s is %s: set a list of 1 to %d ids", name, quote(value), limit)
		return nil
	}
	ids := make([]string, 0, len(list))
	for i, item := range list {
		id, _ := item.(string)
		if !strings.HasPrefix(id, prefix) {
			r.fail("%s[%d] is %s: set an id of the form %s…", name, i, quote(item), prefix)
		}
		ids = append(ids, id)
	}
	return ids
}

func (r *propertyReader) seconds(name string, low, high time.Duration) time.Duration {
	value, ok := r.take(name)
	if !ok {
		return high
	}
	text, _ := value.(string)
	n, err := strconv.Atoi(text)
	if err != nil || n < int(low.Seconds()) || n > int(high.Seconds()) {
		r.fail("%s is %s: set whole seconds from %.0f to %.0f (ServiceTimeout is to leave %.0f s after TimeoutSeconds)",
			name, quote(value), low.Seconds(), high.Seconds(), timeoutMargin.Seconds())
		return high
	}
	return time.Duration(n) * time.Second
}

// quote shows a value of a property in an error; a wrong one can be of any size.
func quote(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("a %T", value)
	}
	return truncate(string(text), 120)
}
