package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// The deploy action's time-outs, https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
const (
	minDeployTimeout = time.Minute
	maxDeployTimeout = time.Hour
)

// settings are the function's environment variables.
type settings struct {
	cluster       string        // CLUSTER: ARN
	service       string        // SERVICE: name
	repository    string        // REPOSITORY: name of an ECR repository in the function's account and region
	container     string        // CONTAINER_NAME: the application's container in the task definition
	topic         string        // NOTIFICATION_TOPIC_ARN: SNS topic; default: nothing is announced
	deployTimeout time.Duration // DEPLOY_TIMEOUT_SECONDS: of the pipeline's deploy action
}

// readSettings reports everything that is wrong at once.
func readSettings(getenv func(string) string) (settings, error) {
	var errs []error
	text := func(name string) string {
		value := getenv(name)
		if value == "" {
			errs = append(errs, fmt.Errorf("%s is empty: set it", name))
		}
		return value
	}
	s := settings{
		cluster:    text("CLUSTER"),
		service:    text("SERVICE"),
		repository: text("REPOSITORY"),
		container:  text("CONTAINER_NAME"),
		topic:      getenv("NOTIFICATION_TOPIC_ARN"),
	}
	if s.cluster != "" && !isARN(s.cluster, "ecs", "cluster/") {
		errs = append(errs, fmt.Errorf("CLUSTER is %q: set an ARN of the form arn:aws:ecs:<region>:<account>:cluster/<name>", s.cluster))
	}
	if s.topic != "" && !isARN(s.topic, "sns", "") {
		errs = append(errs, fmt.Errorf("NOTIFICATION_TOPIC_ARN is %q: set an ARN of the form arn:aws:sns:<region>:<account>:<name>, or remove it", s.topic))
	}
	seconds, err := strconv.Atoi(text("DEPLOY_TIMEOUT_SECONDS"))
	s.deployTimeout = time.Duration(seconds) * time.Second
	if getenv("DEPLOY_TIMEOUT_SECONDS") != "" && (err != nil || seconds < int(minDeployTimeout.Seconds()) || seconds > int(maxDeployTimeout.Seconds())) {
		errs = append(errs, fmt.Errorf("DEPLOY_TIMEOUT_SECONDS is %q: set whole seconds from %.0f to %.0f, as many as the deploy action waits",
			getenv("DEPLOY_TIMEOUT_SECONDS"), minDeployTimeout.Seconds(), maxDeployTimeout.Seconds()))
	}
	if len(errs) > 0 {
		return settings{}, fmt.Errorf("environment variables of the release function: %w", errors.Join(errs...))
	}
	return s, nil
}

func isARN(text, service, resource string) bool {
	parsed, err := arn.Parse(text)
	return err == nil && parsed.Service == service && strings.HasPrefix(parsed.Resource, resource) && parsed.Resource != resource
}

// serviceARN is the service's, in the long form that every account has used since 2021.
func (s settings) serviceARN() string {
	return strings.Replace(s.cluster, ":cluster/", ":service/", 1) + "/" + s.service
}

// clusterParts are the region and the name in the cluster's ARN.
func (s settings) clusterParts() (region, name string) {
	parsed, err := arn.Parse(s.cluster)
	if err != nil {
		return "", "" // readSettings has refused it
	}
	return parsed.Region, strings.TrimPrefix(parsed.Resource, "cluster/")
}

// deploymentsURL is the page of the service's deployments in the console.
func (s settings) deploymentsURL() string {
	region, cluster := s.clusterParts()
	return fmt.Sprintf("https://%s.console.aws.amazon.com/ecs/v2/clusters/%s/services/%s/deployments?region=%[1]s", region, cluster, s.service)
}

// executionURL is the page of an execution of a pipeline in the console. Both come from an event.
func (s settings) executionURL(pipeline, execution string) string {
	region, _ := s.clusterParts()
	return fmt.Sprintf("https://%s.console.aws.amazon.com/codesuite/codepipeline/pipelines/%s/executions/%s/timeline?region=%[1]s",
		region, url.PathEscape(pipeline), url.PathEscape(execution))
}
