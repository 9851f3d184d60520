package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

func deploymentChanged(name string, resources ...string) map[string]any {
	return map[string]any{
		"version": "0", "id": "1", "detail-type": deploymentChange, "source": "aws.ecs", "account": account, "time": "2026-11-24T09:00:00Z",
		"region": "eu-central-1", "resources": resources, "detail": map[string]any{"eventType": "INFO", "eventName": name, "deploymentId": "ecs-svc/1"},
	}
}

func pipelineChanged(state string) map[string]any {
	return map[string]any{
		"version": "0", "id": "1", "detail-type": "CodePipeline Pipeline Execution State Change", "source": "aws.codepipeline", "account": account,
		"time": "2026-11-24T09:00:00Z", "region": "eu-central-1", "resources": []string{"arn:aws:codepipeline:eu-central-1:111122223333:demo-dev"},
		"detail": map[string]any{"pipeline": "demo-dev", "execution-id": "01234567-0123-0123-0123-012345678901", "state": state, "version": 1.0},
	}
}

func TestAnEventThatIsNotForThisFunctionIsAnError(t *testing.T) {
	with := func(e map[string]any, key string, value any) map[string]any { e[key] = value; return e }
	tests := map[string]struct {
		event any
		want  string
	}{
		"no object":                     {[]string{"x"}, "the event is no JSON object"},
		"an empty object":               {map[string]any{}, `the event has source "" and detail-type ""`},
		"another source":                {with(deploymentChanged(deploymentCompleted, serviceARN), "source", "aws.s3"), `the event has source "aws.s3"`},
		"another change of ECS":         {with(deploymentChanged(deploymentCompleted, serviceARN), "detail-type", "ECS Task State Change"), `detail-type "ECS Task State Change"; allowed are`},
		"another service":               {deploymentChanged(deploymentCompleted, serviceARN+"2"), `want ` + serviceARN + `: correct the rule`},
		"no service":                    {deploymentChanged(deploymentCompleted), "the event is about"},
		"a deployment that has begun":   {deploymentChanged("SERVICE_DEPLOYMENT_IN_PROGRESS", serviceARN), `the event's name is "SERVICE_DEPLOYMENT_IN_PROGRESS", allowed are`},
		"a deployment without detail":   {with(deploymentChanged("", serviceARN), "detail", nil), "the event's name is \"\""},
		"a detail that is a list":       {with(deploymentChanged("", serviceARN), "detail", []int{}), "detail of the event \"ECS Deployment State Change\" cannot be read"},
		"a time that is none":           {with(deploymentChanged(deploymentCompleted, serviceARN), "time", "now"), "neither a job of CodePipeline nor an event of EventBridge"},
		"a pipeline that succeeded":     {pipelineChanged("SUCCEEDED"), `is "SUCCEEDED", allowed is only FAILED`},
		"an unnamed pipeline":           {with(pipelineChanged("FAILED"), "detail", map[string]any{"state": "FAILED"}), `of pipeline "" is "FAILED"`},
		"a pipeline's detail of a list": {with(pipelineChanged("FAILED"), "detail", []int{}), "cannot be read"},
		"a job without id":              {map[string]any{"CodePipeline.job": map[string]any{}}, "has no id, so it cannot be answered"},
		"a job that is a text":          {map[string]any{"CodePipeline.job": "x"}, "the job of CodePipeline cannot be read"},
		"a source of any length":        {map[string]any{"source": strings.Repeat("x", 9000)}, "…"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			err := w.handler.handle(t.Context(), encode(t, test.event))
			wantError(t, err, test.want)
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if len(w.calls) > 0 {
				t.Errorf("calls %v", w.calls)
			}
			wantParts(t, w.log.String(), `"level":"ERROR","msg":"failed"`)
		})
	}
}

func TestAFailedExecutionIsAnnounced(t *testing.T) {
	w := releasedWorld(t)
	if err := w.handler.handle(t.Context(), encode(t, pipelineChanged("FAILED"))); err != nil {
		t.Fatal(err)
	}
	if len(w.published) != 1 || *w.published[0].Subject != "Pipeline failed: demo-dev" {
		t.Fatalf("published %+v", w.published)
	}
	wantParts(t, *w.published[0].Message, "Execution 01234567-0123-0123-0123-012345678901 of pipeline demo-dev has failed", "the next run can start",
		"https://eu-central-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/demo-dev/executions/01234567-0123-0123-0123-012345678901/timeline?region=eu-central-1")
}

func TestASubjectIsPlainASCII(t *testing.T) {
	w := releasedWorld(t)
	e := pipelineChanged("FAILED")
	e["detail"].(map[string]any)["pipeline"] = "démo\n" + strings.Repeat("x", 200)
	if err := w.handler.handle(t.Context(), encode(t, e)); err != nil { // the fake takes 100 characters of ASCII
		t.Fatal(err)
	}
	wantParts(t, *w.published[0].Subject, "Pipeline failed: d?mo xxx")
}

// TestAnExecutionThatCannotBeAnnouncedIsTriedAgain by Lambda: nothing else depends on it.
func TestAnExecutionThatCannotBeAnnouncedIsTriedAgain(t *testing.T) {
	w := releasedWorld(t)
	w.fault = func(string) error { return errors.New("InternalErrorException") }
	wantError(t, w.handler.handle(t.Context(), encode(t, pipelineChanged("FAILED"))), "publish to "+topic, "InternalErrorException")
}

func FuzzEvent(f *testing.F) {
	for _, e := range []any{
		job("11111111-abcd-1111-abcd-111111abcdef", "", "x"),
		job("11111111-abcd-1111-abcd-111111abcdef", `{"began":"2026-11-24T09:00:00Z","image":"x"}`, "x"),
		deploymentChanged(deploymentCompleted, serviceARN), deploymentChanged(deploymentFailed, serviceARN), pipelineChanged("FAILED"),
		map[string]any{"CodePipeline.job": map[string]any{"id": "x", "data": []int{}}},
	} {
		f.Add([]byte(encode(f, e)))
	}
	f.Add([]byte(`{"CodePipeline.job":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWorld(t)
		w.artifacts["x"] = zipOf(t, map[string]string{imageDefinitions: `[{"name":"app","imageUri":"x"}]`})
		w.handler.artifacts = func(events.CodePipelineArtifactCredentials) objectReader { return w } // whatever they are
		err := w.handler.handle(context.Background(), raw)
		e, _ := decodeEvent(raw, w.handler.settings)
		answered := len(w.results) == 1
		switch {
		case strings.Contains(w.log.String(), `"msg":"panic"`):
			t.Error(w.log.String())
		case e.job != nil && (!answered || err != nil):
			t.Errorf("a job with an id was not answered: %v", err)
		case e.job == nil && err == nil && e.deployment == nil && e.pipeline == nil:
			t.Error("an event was passed over in silence")
		}
		wantNoSecret(t, w)
	})
}
