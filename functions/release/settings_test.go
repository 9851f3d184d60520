package main

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func environment() map[string]string {
	return map[string]string{
		"CLUSTER": cluster, "SERVICE": "web", "REPOSITORY": "demo-dev", "CONTAINER_NAME": "app", "NOTIFICATION_TOPIC_ARN": topic, "DEPLOY_TIMEOUT_SECONDS": "900",
	}
}

func readFrom(variables map[string]string) (settings, error) {
	return readSettings(func(name string) string { return variables[name] })
}

func TestSettings(t *testing.T) {
	want := settings{cluster: cluster, service: "web", repository: "demo-dev", container: "app", topic: topic, deployTimeout: 15 * time.Minute}
	if got, err := readFrom(environment()); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if want.serviceARN() != serviceARN || want.deploymentsURL() != deployments {
		t.Errorf("service %s, page %s", want.serviceARN(), want.deploymentsURL())
	}
	for name := range environment() {
		variables := environment()
		delete(variables, name)
		_, err := readFrom(variables)
		if optional := name == "NOTIFICATION_TOPIC_ARN"; optional != (err == nil) {
			t.Errorf("without %s: %v", name, err)
		} else if err != nil {
			wantParts(t, err.Error(), name+" is empty: set it")
		}
	}
}

func TestSettingErrors(t *testing.T) {
	tests := map[string]struct{ name, value, want string }{
		"a cluster by name":                    {"CLUSTER", "demo", `CLUSTER is "demo": set an ARN of the form arn:aws:ecs:<region>:<account>:cluster/<name>`},
		"a cluster that is a service":          {"CLUSTER", serviceARN, "CLUSTER is "},
		"a cluster without name":               {"CLUSTER", "arn:aws:ecs:eu-central-1:1:cluster/", "CLUSTER is "},
		"a topic by name":                      {"NOTIFICATION_TOPIC_ARN", "alarms", `NOTIFICATION_TOPIC_ARN is "alarms": set an ARN of the form arn:aws:sns:`},
		"a time-out with a unit":               {"DEPLOY_TIMEOUT_SECONDS", "15m", `DEPLOY_TIMEOUT_SECONDS is "15m": set whole seconds from 60 to 3600`},
		"a time-out shorter than CodePipeline": {"DEPLOY_TIMEOUT_SECONDS", "59", "from 60 to 3600"},
		"a time-out beyond an hour":            {"DEPLOY_TIMEOUT_SECONDS", "3601", "from 60 to 3600"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			variables := environment()
			maps.Copy(variables, map[string]string{test.name: test.value})
			_, err := readFrom(variables)
			wantError(t, err, "environment variables of the release function: ", test.want)
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("%d further errors: %v", n, err)
			}
		})
	}
}
