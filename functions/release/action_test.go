package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const deployments = "https://eu-central-1.console.aws.amazon.com/ecs/v2/clusters/demo-dev/services/web/deployments?region=eu-central-1"

func (r *run) wantProgress(parts ...string) {
	r.t.Helper()
	if r.failure != "" || r.token == "" {
		r.t.Fatalf("call %d: %+v, want a continuation", r.calls, r.result)
	}
	r.wantIn(r.summary, parts)
}

func (r *run) wantSuccess(parts ...string) {
	r.t.Helper()
	if r.failure != "" || r.token != "" {
		r.t.Fatalf("call %d: %+v, want success", r.calls, r.result)
	}
	r.wantIn(r.summary, parts)
	if len(r.published) > 0 {
		r.t.Errorf("a success was announced: %s", *r.published[0].Message)
	}
}

// wantFailure wants a failed job, announced once, with a link to the console.
func (r *run) wantFailure(parts ...string) {
	r.t.Helper()
	if r.failure == "" {
		r.t.Fatalf("call %d: %+v, want a failure", r.calls, r.result)
	}
	r.wantIn(r.failure, append(parts, " "+deployments))
	if len(r.published) != 1 || *r.published[0].Message != r.failure || *r.published[0].Subject != "Release failed: web" {
		r.t.Errorf("announced %d times, want once what the job says", len(r.published))
	}
}

func (r *run) wantIn(text string, parts []string) {
	r.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			r.t.Errorf("no %q in: %s", part, text)
		}
	}
}

// begin starts a run whose deployment is in progress at the first call.
func (w *world) begin(tag string) (*run, *deployment) {
	w.t.Helper()
	r, d := w.startRun(tag), w.release(tag)
	r.poll().wantProgress(lastPart(d.arn) + " of " + r.image + ": IN_PROGRESS")
	return r, d
}

func TestACompletedReleaseMovesLive(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.complete(d)
	r.poll().wantSuccess("deployment-2 of "+uri+":sha-b was completed", "live names it")
	w.wantLive("sha-b")
	if r.id != d.arn {
		t.Errorf("the external id is %q, want %s", r.id, d.arn)
	}
	if n := w.count("GetObject"); n != 1 {
		t.Errorf("the artifact was read %d times, want once: the token carries the image", n)
	}
}

func TestALiveThatIsThereAlreadyIsNotPut(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.complete(d)
	w.deliver()
	w.calls = nil
	r.poll().wantSuccess()
	if w.count("PutImage") > 0 {
		t.Error("live was put again")
	}
	w.wantLive("sha-b")
}

func TestARollbackFailsTheActionAtOnce(t *testing.T) {
	tests := map[string]struct {
		status types.ServiceDeploymentStatus
		want   string
	}{
		"when it is requested": {types.ServiceDeploymentStatusRollbackRequested, "is rolled back: " + breaker},
		"when it has begun":    {types.ServiceDeploymentStatusRollbackInProgress, "is rolled back: " + breaker},
		"when it has ended":    {types.ServiceDeploymentStatusRollbackSuccessful, "is rolled back: " + breaker},
		"when it failed too":   {types.ServiceDeploymentStatusRollbackFailed, "failed, and so did the rollback: " + breaker},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			w.push("sha-b")
			r, d := w.begin("sha-b")
			w.rollBack(d, breaker)
			w.stopTask(d, "Essential container in task exited", 137, "OutOfMemoryError: Container killed due to memory usage")
			w.stopTask(w.deployments[1], "Scaling activity initiated by deployment ecs-svc/2", 143, "")
			d.status = test.status
			r.poll().wantFailure("deployment-2 of "+uri+":sha-b "+test.want,
				"Task failed ELB health checks in (target-group x), container app exited with 3",
				"Essential container in task exited, container app exited with 137, container app: OutOfMemoryError")
			if strings.Contains(r.failure, "Scaling activity") {
				t.Errorf("the message has a task of another deployment: %s", r.failure)
			}
			w.deliver()
			w.wantLive("sha-a")
		})
	}
}

func TestEachReasonIsSaidOnceAndTheLinkSurvives(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	for range 5 {
		w.stopTask(d, "A \x1b[31m red\nreason", 1, "")
	}
	for i := range 90 {
		w.stopTask(d, fmt.Sprintf("Reason %d %s", i, strings.Repeat("x", 400)), 1, strings.Repeat("y", 400))
	}
	w.rollBack(d, strings.Repeat("because ", 300))
	r.poll().wantFailure() // the fake takes 1,000 characters
	if n := strings.Count(r.failure, "A [31m red reason, container app exited with 1"); n != 1 {
		t.Errorf("a reason is said %d times, want once: %s", n, r.failure)
	}
	if strings.ContainsAny(r.failure, "\x1b\n") {
		t.Errorf("control characters in %q", r.failure)
	}
}

// TestReasonsAmongManyStoppedTasks has more than DescribeTasks takes at once. The fake lists two at a time.
func TestReasonsAmongManyStoppedTasks(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	for range 100 {
		w.stopTask(w.deployments[1], "Scaling activity initiated by deployment ecs-svc/2", 143, "")
	}
	w.rollBack(d, breaker)
	r.poll().wantFailure("Task failed ELB health checks in (target-group x), container app exited with 3")
}

func TestReasonsThatCannotBeReadDoNotHideTheFailure(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.rollBack(d, breaker)
	w.fault = func(call string) error {
		if call == "ListTasks" {
			return errors.New("AccessDeniedException: ecs:ListTasks")
		}
		return nil
	}
	r.poll().wantFailure("is rolled back: "+breaker, "reasons could not be read", "ecs:ListTasks")
}

func TestADeploymentThatDoesNotEndIsBounded(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r := w.startRun("sha-b")
	w.release("sha-b")
	began := w.clock
	for r.poll(); !r.ended(); r.poll() {
		r.wantProgress()
	}
	r.wantFailure("has not ended within 17m0s", ":sha-b: IN_PROGRESS")
	if took := w.clock.Sub(began); took < 17*time.Minute || took > 19*time.Minute {
		t.Errorf("gave up after %s", took)
	}
}

func TestADeploymentThatDoesNotAppearIsBounded(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{15 * time.Minute: 5 * time.Minute, 2 * time.Minute: 2 * time.Minute} {
		w := releasedWorld(t)
		w.handler.deployTimeout = timeout
		r := w.startRun("sha-b")
		began := w.clock
		for r.poll(); !r.ended(); r.poll() {
			r.wantProgress("waiting for the deployment of " + uri + ":sha-b")
		}
		r.wantFailure("no deployment of "+uri+":sha-b to service web appeared within "+want.String(), "the error of the Deploy action", "retry the whole stage")
		if took := w.clock.Sub(began); took < want || took > want+2*time.Minute {
			t.Errorf("gave up after %s, want %s", took, want)
		}
	}
}

// TestAnEarlierDeploymentOfTheSameNameIsNotTheRuns has one that was completed, which must not make the run succeed, and one that
// was rolled back, which must not make it fail.
func TestAnEarlierDeploymentOfTheSameNameIsNotTheRuns(t *testing.T) {
	for name, tag := range map[string]string{"the same commit again": "sha-b", "an old buildspec's latest": "latest"} {
		for _, completed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/before_it_completed_%v", name, completed), func(t *testing.T) {
				w := releasedWorld(t)
				w.push(tag)
				if before := w.release(tag); completed {
					w.complete(before)
				} else {
					w.rollBack(before, breaker)
					w.rolledBack(before)
				}
				w.deliver()
				w.clock = w.clock.Add(90 * time.Second) // less takes no deployment

				if tag == "latest" {
					w.push("build-2", "latest")
				}
				r := w.startRun(tag)
				r.poll().wantProgress("waiting for the deployment")
				d := w.release(tag)
				r.poll().wantProgress("deployment-3 of " + uri + ":" + tag)
				w.complete(d)
				r.poll().wantSuccess("deployment-3")
				w.wantLive(tag)
			})
		}
	}
}

// TestADeploymentThatBeganBeforeTheFirstCallIsTheRuns although it has ended too. No rule can tell it from another run's, so it
// counts once no newer one has appeared for a minute.
func TestADeploymentThatBeganBeforeTheFirstCallIsTheRuns(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r := w.startRun("sha-b")
	w.complete(w.release("sha-b"))
	w.clock = w.clock.Add(20 * time.Second) // and 30 more until the call
	for r.poll(); !r.ended(); r.poll() {
		r.wantProgress("waiting for the deployment of "+r.image, "deployment-2 may be another run's")
	}
	r.wantSuccess("deployment-2")
	if r.calls > 4 {
		t.Errorf("%d calls, want those of about a minute", r.calls)
	}
}

// TestADeploymentInProgressIsTheRunsHoweverLateTheFirstCallComes has a function that was throttled for minutes.
func TestADeploymentInProgressIsTheRunsHoweverLateTheFirstCallComes(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r := w.startRun("sha-b")
	d := w.release("sha-b")
	w.clock = w.clock.Add(10 * time.Minute)
	r.poll().wantProgress("deployment-2")
	w.complete(d)
	r.poll().wantProgress("deployment-2 may be another run's")
	w.clock = w.clock.Add(2 * slack)
	r.poll().wantSuccess("deployment-2")
	w.wantLive("sha-b")
}

func TestAnotherDeploymentOvertook(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.push("sha-c")
	r, _ := w.begin("sha-b")
	newer := w.release("sha-c")
	r.poll().wantFailure("deployment-2 of " + uri + ":sha-b was overtaken by deployment deployment-3 of " + uri + ":sha-c and stopped")
	w.complete(newer)
	w.deliver()
	w.wantLive("sha-c")
}

// TestManyNewerDeployments has more than DescribeServiceRevisions takes at once.
func TestManyNewerDeployments(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.push("sha-c")
	r, _ := w.begin("sha-b")
	for range 2 * 20 {
		w.release("sha-c")
	}
	r.poll().wantFailure("deployment-2 of " + uri + ":sha-b was overtaken by deployment deployment-42 of " + uri + ":sha-c")
}

func TestAStoppedDeploymentFailsTheAction(t *testing.T) {
	for _, status := range []types.ServiceDeploymentStatus{types.ServiceDeploymentStatusStopRequested, types.ServiceDeploymentStatusStopped} {
		w := releasedWorld(t)
		w.push("sha-b")
		r, d := w.begin("sha-b")
		d.status, d.reason = status, "Stopped by ada."
		r.poll().wantFailure("deployment-2 of " + uri + ":sha-b was stopped: Stopped by ada.")
	}
}

func TestANewerDeploymentThatCompletedTooKeepsLive(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.push("sha-c")
	r, d := w.begin("sha-b")
	w.complete(d)
	w.complete(w.release("sha-c"))
	r.poll().wantSuccess("deployment-2 of "+uri+":sha-b was completed", "live follows the newer deployment deployment-3 of "+uri+":sha-c")
	w.wantLive("sha-c")
}

func TestAServiceScaledToZeroFailsTheAction(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.desired = 0
	r, d := w.begin("sha-b")
	w.complete(d)
	r.poll().wantFailure("completed with no running task", "live stays as it is",
		"aws ecs update-service --force-new-deployment --desired-count 1 --cluster demo-dev --service web")
	if w.tags["live"] != w.tags["sha-a"] {
		t.Errorf("live is %v", w.tagsOf(w.tags["live"]))
	}
}

// TestAListThatLagsBehindIsWaitedFor has the deployment completed for one call of ECS and not yet for another.
func TestAListThatLagsBehindIsWaitedFor(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.complete(d)
	w.handler.ecs = lagging{w, d}
	r.poll().wantProgress("completed, waiting for the list of deployments to show it")
	w.handler.ecs = w
	r.poll().wantSuccess()
	w.wantLive("sha-b")
}

// lagging lists a deployment as in progress to whoever asks for completed ones.
type lagging struct {
	*world
	d *deployment
}

func (l lagging) ListServiceDeployments(ctx context.Context, in *ecs.ListServiceDeploymentsInput, o ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	status := l.d.status
	if len(in.Status) > 0 {
		l.d.status = types.ServiceDeploymentStatusInProgress
	}
	defer func() { l.d.status = status }()
	return l.world.ListServiceDeployments(ctx, in, o...)
}

// spent is what the SDK returns when the attempts of a throttled call are used up.
var spent = &retry.MaxAttemptsError{Attempt: 6, Err: errors.New("ThrottlingException: Rate exceeded")}

func TestThrottlingThatOutlastsTheRetriesIsLookedAtAgain(t *testing.T) {
	for _, call := range []string{"GetObject", "ListServiceDeployments", "DescribeServiceDeployments", "DescribeServiceRevisions", "BatchGetImage", "PutImage"} {
		t.Run(call, func(t *testing.T) {
			w := releasedWorld(t)
			w.push("sha-b")
			r := w.startRun("sha-b")
			w.complete(w.release("sha-b"))
			w.fault = func(name string) error {
				if name == call {
					return spent
				}
				return nil
			}
			r.poll().wantProgress()
			r.poll().wantProgress()
			w.fault = nil
			r.poll().wantSuccess()
			w.wantLive("sha-b")
		})
	}
}

// TestAnArtifactThatBreaksOffIsReadAgain has an error that no retry of the SDK covers: the headers have arrived.
func TestAnArtifactThatBreaksOffIsReadAgain(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r := w.startRun("sha-b")
	d := w.release("sha-b")
	whole := w.handler.artifacts
	w.handler.artifacts = func(events.CodePipelineArtifactCredentials) objectReader { return brokenOff{} }
	r.poll().wantProgress()
	wantParts(t, w.log.String(), "looked in vain", "the download broke off: unexpected EOF")
	w.handler.artifacts = whole
	r.poll().wantProgress("deployment-2")
	w.complete(d)
	r.poll().wantSuccess()
}

// brokenOff is an S3 whose objects end too early.
type brokenOff struct{}

func (brokenOff) GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	return &s3.GetObjectOutput{Body: io.NopCloser(io.MultiReader(strings.NewReader("PK"), iotest.ErrReader(io.ErrUnexpectedEOF)))}, nil
}

func TestThrottlingWithoutEndIsBounded(t *testing.T) {
	w := releasedWorld(t)
	r := w.startRun("sha-b")
	w.fault = func(name string) error {
		if name == "ListServiceDeployments" {
			return spent
		}
		return nil
	}
	for r.poll(); !r.ended(); r.poll() {
		r.wantProgress()
	}
	r.wantFailure("has not ended within 17m0s", "list the deployments of service web", "Rate exceeded")
}

func TestALastingErrorFailsTheActionAtOnce(t *testing.T) {
	for call, want := range map[string]string{
		"GetObject":              `read the artifact "Image" (s3://artifacts/`,
		"ListServiceDeployments": "list the deployments of service web",
		"PutImage":               "was completed, but live may not name its image: move the tag live of repository demo-dev",
	} {
		t.Run(call, func(t *testing.T) {
			w := releasedWorld(t)
			w.push("sha-b")
			r, d := w.startRun("sha-b"), w.release("sha-b")
			if call == "PutImage" {
				r.poll().wantProgress()
				w.complete(d)
			}
			w.fault = func(name string) error {
				if name == call {
					return errors.New("AccessDeniedException: not authorized")
				}
				return nil
			}
			r.poll().wantFailure(want, "AccessDeniedException")
		})
	}
}

func TestAJobThatCannotBeUnderstoodFails(t *testing.T) {
	data := func(j map[string]any) map[string]any {
		return j["CodePipeline.job"].(map[string]any)["data"].(map[string]any)
	}
	file := func(content string) func(*world, map[string]any) {
		return func(w *world, _ map[string]any) {
			w.artifacts["x"] = zipOf(w.t, map[string]string{imageDefinitions: content})
		}
	}
	tests := map[string]struct {
		arrange func(w *world, j map[string]any)
		want    string
	}{
		"without artifact": {func(_ *world, j map[string]any) { data(j)["inputArtifacts"] = []any{} }, "has 0 input artifacts, want the one of the build"},
		"without location": {func(_ *world, j map[string]any) { data(j)["inputArtifacts"] = []any{map[string]any{"name": "Image"}} }, `artifact "Image" has no location in S3`},
		"with other data":  {func(_ *world, j map[string]any) { j["CodePipeline.job"].(map[string]any)["data"] = "x" }, "the job of CodePipeline cannot be read"},
		"no zip":           {func(w *world, _ map[string]any) { w.artifacts["x"] = []byte("x") }, "zip: not a valid zip file"},
		"another file":     {func(w *world, _ map[string]any) { w.artifacts["x"] = zipOf(w.t, map[string]string{"x": "[]"}) }, "imagedefinitions.json: file does not exist"},
		"another compression": {func(w *world, _ map[string]any) {
			// The method stands twice: at offset 8 of the file's header, and at offset 10 of its entry in the directory.
			archive := zipOf(w.t, map[string]string{imageDefinitions: "[]"})
			archive[8], archive[bytes.Index(archive, []byte("PK\x01\x02"))+10] = 93, 93 // Zstandard
			w.artifacts["x"] = archive
		}, "imagedefinitions.json: zip: unsupported compression algorithm;"},
		"a huge artifact":   {func(w *world, _ map[string]any) { w.artifacts["x"] = make([]byte, maxArtifact+1) }, "it is larger than 16777216 bytes"},
		"a huge file":       {file(strings.Repeat(" ", maxImageDefinitions+1)), "imagedefinitions.json: it is larger than 102400 bytes"},
		"no JSON":           {file("x"), "imagedefinitions.json: invalid character"},
		"no list":           {file(`{"ImageURI":"x"}`), `want a list of {"name": …, "imageUri": …}`},
		"another container": {file(`[{"name":"web","imageUri":"x"}]`), `names the containers ["web"], want "app"`},
		"no image":          {file(`[{"name":"app"}]`), `has the imageUri "" for container app`},
		"a very long image": {file(`[{"name":"app","imageUri":"` + strings.Repeat("x", maxImage+1) + `"}]`), "an image of at most 512 bytes"},
		"another token":     {func(_ *world, j map[string]any) { data(j)["continuationToken"] = "x" }, "continuation token is not one of this function"},
		"an empty token":    {func(_ *world, j map[string]any) { data(j)["continuationToken"] = "{}" }, "continuation token is not one of this function"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			r := w.startRun("sha-b")
			id := w.nextJob()
			j := job(id, "", "x")
			w.artifacts["x"] = zipOf(t, map[string]string{imageDefinitions: `[{"name":"app","imageUri":"x"}]`})
			test.arrange(w, j)
			if err := w.handler.handle(t.Context(), encode(t, j)); err != nil {
				t.Fatalf("the function failed, not the job: %v", err)
			}
			r.result = w.results[id]
			r.wantFailure(test.want)
			wantNoSecret(t, w)
		})
	}
}

// wantNoSecret looks into all that leaves the function.
func wantNoSecret(t *testing.T, w *world) {
	t.Helper()
	text := w.log.String() + fmt.Sprintf("%+v", w.results)
	for _, p := range w.published {
		text += *p.Message + *p.Subject
	}
	for _, part := range []string{secret, "AKIAIOSFODNN7EXAMPLE"} {
		if strings.Contains(text, part) {
			t.Errorf("the job's credentials are in: %s", text)
		}
	}
}

func TestTheCredentialsOfAJobGoNowhere(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r := w.startRun("sha-b")
	r.poll().wantProgress()
	w.rollBack(w.release("sha-b"), breaker)
	r.poll().wantFailure()
	wantNoSecret(t, w)
}

func TestAPanicFailsTheJob(t *testing.T) {
	w := releasedWorld(t)
	r := w.startRun("sha-b")
	w.fault = func(call string) error {
		if call == "ListServiceDeployments" {
			panic("index out of range")
		}
		return nil
	}
	r.poll().wantFailure("panic in the release function: index out of range", "this is a defect")
	wantParts(t, w.log.String(), `"stack":"goroutine`)
}

func TestAMisconfiguredFunctionFailsTheJobAndEachEvent(t *testing.T) {
	w := releasedWorld(t)
	w.handler.settings, w.handler.misconfigured = readSettings(func(string) string { return "" })
	r := w.startRun("sha-b")
	r.poll()
	wantParts(t, r.failure, "environment variables of the release function", "CLUSTER is empty", "DEPLOY_TIMEOUT_SECONDS is empty")
	w.announce("SERVICE_DEPLOYMENT_COMPLETED")
	wantError(t, w.deliverOne(0), "CLUSTER is empty")
}

func TestAFailureToAnnounceDoesNotChangeTheResult(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.rollBack(d, breaker)
	w.fault = func(call string) error {
		if call == "Publish" {
			return errors.New("AuthorizationErrorException")
		}
		return nil
	}
	r.poll()
	wantParts(t, r.failure, breaker)
	wantParts(t, w.log.String(), `"msg":"not announced"`, "AuthorizationErrorException", topic)
}

func TestWithoutATopicNothingIsAnnounced(t *testing.T) {
	w := releasedWorld(t)
	w.handler.topic = ""
	w.push("sha-b")
	r, d := w.begin("sha-b")
	w.rollBack(d, breaker)
	r.poll()
	wantParts(t, r.failure, breaker)
	if w.count("Publish") > 0 {
		t.Error("published")
	}
}

func TestAJobThatCannotBeAnswered(t *testing.T) {
	tests := map[string]struct {
		err   error
		again bool // Lambda calls again
	}{
		"for the time being":         {spent, true},
		"since it has ended already": {&cptypes.InvalidJobStateException{}, false},
		"since it is unknown":        {&cptypes.JobNotFoundException{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			w.artifacts["x"] = zipOf(t, map[string]string{imageDefinitions: `[{"name":"app","imageUri":"x"}]`})
			w.fault = func(call string) error {
				if strings.HasPrefix(call, "PutJob") {
					return test.err
				}
				return nil
			}
			err := w.handler.handle(t.Context(), encode(t, job(w.nextJob(), "", "x")))
			if (err != nil) != test.again {
				t.Errorf("error %v, want one: %v", err, test.again)
			}
		})
	}
}

// TestTheAnswerHasTimeLeft ends the time for the work before Lambda ends the function.
func TestTheAnswerHasTimeLeft(t *testing.T) {
	w := releasedWorld(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(2*time.Minute))
	defer cancel()
	w.artifacts["x"] = zipOf(t, map[string]string{imageDefinitions: `[{"name":"app","imageUri":"x"}]`})
	var forWork, forAnswer time.Time
	w.handler.ecs = deadlines{w, &forWork}
	w.handler.pipeline = deadlines{w, &forAnswer}
	if err := w.handler.handle(ctx, encode(t, job(w.nextJob(), "", "x"))); err != nil {
		t.Fatal(err)
	}
	if left := forAnswer.Sub(forWork); left != reserve {
		t.Errorf("%s are left for the answer, want %s", left, reserve)
	}
}

// deadlines records until when a call may take.
type deadlines struct {
	*world
	at *time.Time
}

func (d deadlines) ListServiceDeployments(ctx context.Context, in *ecs.ListServiceDeploymentsInput, o ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	*d.at, _ = ctx.Deadline()
	return d.world.ListServiceDeployments(ctx, in, o...)
}

func (d deadlines) PutJobSuccessResult(ctx context.Context, in *codepipeline.PutJobSuccessResultInput, o ...func(*codepipeline.Options)) (*codepipeline.PutJobSuccessResultOutput, error) {
	*d.at, _ = ctx.Deadline()
	return d.world.PutJobSuccessResult(ctx, in, o...)
}
