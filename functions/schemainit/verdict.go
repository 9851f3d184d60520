package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// advice says what to do about the ways in which ECS says that a task ended. The first sign found counts.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
var advice = []struct{ sign, advice string }{
	{"CannotPullContainer", "Check the image's name and that the private subnets reach its registry."},
	{"ResourceInitializationError", "Check that the execution role may read the secrets, that the log group exists, and that the private subnets reach Secrets Manager."},
	{"OutOfMemory", "Give the schema task more memory."},
	{"did not end within", "See in the log what it was doing, or raise TimeoutSeconds."},
	{"network interface", "Check that the private subnets have free addresses and that the security groups exist, then deploy again."},
	{"Capacity is unavailable", "Fargate was short of capacity: deploy again later."},
}

// verdict says how a failed task ended, without its log.
func verdict(task *types.Task, failed types.Container) string {
	var b strings.Builder
	name, reason := *failed.Name, aws.ToString(failed.Reason)
	if failed.ExitCode != nil {
		fmt.Fprintf(&b, "Schema task failed: container %s ended with exit code %d.\n", name, *failed.ExitCode)
	} else {
		fmt.Fprintf(&b, "Schema task failed: container %s has no exit code, it did not run to its end.\n", name)
	}
	stopped := aws.ToString(task.StoppedReason)
	fmt.Fprintf(&b, "Stop code %s: %s\n", orNone(string(task.StopCode)), orNone(truncate(safe(stopped), maxDetail)))
	if reason != "" && !strings.Contains(stopped, reason) {
		fmt.Fprintf(&b, "Container reason: %s\n", truncate(safe(reason), maxDetail))
	}
	b.WriteString(adviceFor(stopped+"\n"+reason) + "\n")
	fmt.Fprintf(&b, "Task %s", aws.ToString(task.TaskArn))
	return b.String()
}

func adviceFor(text string) string {
	for _, a := range advice {
		if strings.Contains(text, a.sign) {
			return a.advice
		}
	}
	return "Correct what the log names, then deploy again: files that were applied are not applied twice."
}

func orNone(text string) string {
	if text == "" {
		return "none given"
	}
	return text
}

// logLine says where the log is, and why none follows.
func logLine(p properties, container, arn string, log []string, err error) string {
	where := fmt.Sprintf("Log group %s, stream %s", p.LogGroup, logStream(p, container, arn))
	var absent *logstypes.ResourceNotFoundException
	switch {
	case len(log) > 0:
		return where + ", its end:"
	case errors.As(err, &absent):
		return where + ": does not exist"
	case err != nil:
		return where + ": could not be read: " + truncate(safe(err.Error()), maxDetail)
	default:
		return where + ": is empty"
	}
}

// failureText joins what ECS lists in the failures of an answer with HTTP status 200.
func failureText(failures []types.Failure) string {
	texts := make([]string, len(failures))
	for i, f := range failures {
		texts[i] = strings.Join(strings.Fields(strings.Join([]string{aws.ToString(f.Reason), aws.ToString(f.Arn), aws.ToString(f.Detail)}, " ")), " ")
	}
	return strings.Join(texts, "; ")
}
