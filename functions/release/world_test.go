package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"flask-on-fargate/internal/clock"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	mediatypes "github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	account    = "111122223333"
	cluster    = "arn:aws:ecs:eu-central-1:111122223333:cluster/demo-dev"
	serviceARN = "arn:aws:ecs:eu-central-1:111122223333:service/demo-dev/web"
	topic      = "arn:aws:sns:eu-central-1:111122223333:alarms"
	uri        = account + ".dkr.ecr.eu-central-1.amazonaws.com/demo-dev"
	secret     = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
)

// world is the part of an AWS account that the function sees, after AWS's own rules: a tag becomes a digest when a deployment
// begins, a rollback keeps the digest of the revision that it goes back to, the deploy action registers from the task
// definition in use, and CloudFormation sends its own. Each call takes a second.
type world struct {
	t       tester
	handler *handler
	clock   time.Time
	log     bytes.Buffer

	images    map[string]stored // by digest
	tags      map[string]string
	wholeTags bool // ECS reports an index's own digest, not that of its platform

	definitions []definition // task definitions; their revision is the index + 1
	template    int          // the one that CloudFormation sends
	inUse       int
	revisions   map[string]*revision
	deployments []*deployment // in the order of their creation
	stable      *revision     // of the last completed deployment: what runs
	desired     int32
	stopped     []types.Task

	announced []json.RawMessage // events that were not delivered yet
	results   map[string]result // by job
	jobs      int
	published []*sns.PublishInput
	artifacts map[string][]byte // by key

	calls  []string
	before func(call string)       // anything may happen before a call
	fault  func(call string) error // answers in place of a call
}

// tester is what [testing.T] and [rapid.T] have in common, as far as it is used here.
type tester interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

type stored struct{ raw, mediaType string }

type definition struct {
	image     string
	variables int // a version of the environment variables
}

type revision struct {
	arn        string
	definition int
	digest     string
}

type deployment struct {
	arn               string
	created, finished time.Time
	status            types.ServiceDeploymentStatus
	reason            string
	target            *revision
	running           int32
	rollback          *types.Rollback
}

// result is that of one call for a job.
type result struct {
	failure, token, summary, id string
}

// newWorld has a service that runs the placeholder, deployed by CloudFormation.
func newWorld(t tester) *world {
	w := &world{
		t: t, clock: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), desired: 1,
		images: map[string]stored{}, tags: map[string]string{}, revisions: map[string]*revision{}, results: map[string]result{}, artifacts: map[string][]byte{},
	}
	w.handler = &handler{
		settings: settings{cluster: cluster, service: "web", repository: "demo-dev", container: "app", topic: topic, deployTimeout: 15 * time.Minute},
		ecs:      w, ecr: w, pipeline: w, sns: w,
		artifacts: func(c events.CodePipelineArtifactCredentials) objectReader {
			if c.SecretAccessKey != secret || c.SessionToken != "token-"+secret || c.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
				t.Errorf("the artifact is read with other credentials than the job's")
			}
			return w
		},
		clock: clock.Manual(&w.clock),
		log:   slog.New(slog.NewJSONHandler(&w.log, nil)),
	}
	w.tags["live"] = w.push("seed")
	w.complete(w.infrastructure())
	w.deliver()
	w.calls = nil
	return w
}

// push makes tags name a new index of two platforms, and returns its digest.
func (w *world) push(tags ...string) string {
	var children []string
	for _, arch := range []string{"amd64", "arm64"} {
		raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"digest":"sha256:%x"}}`, mediatypes.OCIManifestSchema1, sha256.Sum256([]byte(tags[0]+arch)))
		children = append(children, fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q,"platform":{"os":"linux","architecture":%q}}`,
			mediatypes.OCIManifestSchema1, len(raw), w.store(raw, string(mediatypes.OCIManifestSchema1)), arch))
	}
	return w.store(fmt.Sprintf(`{"schemaVersion":2,  "manifests":[%s]}`, strings.Join(children, ",")), string(mediatypes.OCIImageIndex), tags...)
}

// pushSingle is push of an image without an index, as an ordinary docker build makes it.
func (w *world) pushSingle(tags ...string) string {
	return w.store(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":"sha256:%x"}}`, sha256.Sum256([]byte(tags[0]))), string(mediatypes.DockerManifestSchema2), tags...)
}

func (w *world) store(raw, mediaType string, tags ...string) string {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(raw)))
	w.images[digest] = stored{raw, mediaType}
	for _, tag := range tags {
		w.tags[tag] = digest
	}
	return digest
}

// platform is what tasks run of an image: of an index its first platform.
func (w *world) platform(digest string) string {
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal([]byte(w.images[digest].raw), &index); err != nil {
		w.t.Fatalf("image %q: %v", digest, err)
	}
	if len(index.Manifests) > 0 {
		return index.Manifests[0].Digest
	}
	return digest
}

// resolve is what ECS makes of an image's name when a deployment begins.
func (w *world) resolve(image string) string {
	if strings.Contains(image, "@") {
		return "" // ECS resolves tags only
	}
	digest := w.tags[image[strings.LastIndex(image, ":")+1:]]
	if w.wholeTags {
		return digest
	}
	return w.platform(digest)
}

func (w *world) tick() { w.clock = w.clock.Add(time.Second) }

func (w *world) register(d definition) int {
	w.definitions = append(w.definitions, d)
	return len(w.definitions) - 1
}

// release is what the pipeline's deploy action does.
func (w *world) release(tag string) *deployment {
	d := w.definitions[w.inUse]
	d.image = uri + ":" + tag
	return w.update(w.register(d))
}

// infrastructure is a deploy of the infrastructure that changes the variables: CloudFormation knows only its own revisions.
func (w *world) infrastructure() *deployment {
	var d definition
	if len(w.definitions) > 0 {
		d = w.definitions[w.template]
	}
	w.template = w.register(definition{uri + ":live", d.variables + 1})
	return w.update(w.template)
}

// update is UpdateService with a task definition.
func (w *world) update(definition int) *deployment {
	return w.deploy(definition, w.resolve(w.definitions[definition].image))
}

// redeploy is a rollback in the console, to what a former revision of the service was, digest included.
func (w *world) redeploy(r *revision) *deployment { return w.deploy(r.definition, r.digest) }

func (w *world) deploy(definition int, digest string) *deployment {
	w.tick()
	if d := w.current(); d != nil {
		d.status, d.finished, d.reason, d.running = types.ServiceDeploymentStatusStopped, w.clock, "A newer deployment began.", 0
	}
	n := strconv.Itoa(len(w.deployments))
	r := &revision{"arn:aws:ecs:eu-central-1:111122223333:service-revision/demo-dev/web/" + n, definition, digest}
	d := &deployment{
		arn:    "arn:aws:ecs:eu-central-1:111122223333:service-deployment/demo-dev/web/deployment-" + n,
		target: r, created: w.clock, status: types.ServiceDeploymentStatusInProgress,
	}
	w.revisions[r.arn], w.inUse = r, definition
	w.deployments = append(w.deployments, d)
	return d
}

// current is the deployment that has not ended.
func (w *world) current() *deployment {
	for _, d := range w.deployments {
		if d.finished.IsZero() {
			return d
		}
	}
	return nil
}

func (w *world) complete(d *deployment) {
	w.tick()
	d.status, d.finished, d.running = types.ServiceDeploymentStatusSuccessful, w.clock, w.desired
	w.stable = d.target
	w.announce("SERVICE_DEPLOYMENT_COMPLETED")
}

const breaker = "Service deployment rolled back because the circuit breaker threshold was exceeded."

// rollBack begins the rollback of a deployment, by the circuit breaker or by the button of the console.
func (w *world) rollBack(d *deployment, reason string) {
	w.tick()
	d.status = types.ServiceDeploymentStatusRollbackInProgress
	d.rollback = &types.Rollback{Reason: &reason, StartedAt: aws.Time(w.clock), ServiceRevisionArn: &w.stable.arn}
	w.stopTask(d, "Task failed ELB health checks in (target-group x)", 3, "")
	w.announce("SERVICE_DEPLOYMENT_FAILED")
}

func (w *world) rolledBack(d *deployment) {
	w.tick()
	d.status, d.finished = types.ServiceDeploymentStatusRollbackSuccessful, w.clock
	w.inUse = w.stable.definition
	w.announce("SERVICE_DEPLOYMENT_COMPLETED")
}

func (w *world) stopTask(d *deployment, reason string, exitCode int32, containerReason string) {
	c := types.Container{Name: aws.String("app"), ExitCode: &exitCode}
	if containerReason != "" {
		c.Reason = &containerReason
	}
	w.stopped = append(w.stopped, types.Task{
		TaskArn: aws.String(fmt.Sprintf("task/%d", len(w.stopped))), TaskDefinitionArn: aws.String(definitionARN(d.target.definition)),
		StoppedReason: &reason, Containers: []types.Container{c},
	})
}

func definitionARN(i int) string {
	return fmt.Sprintf("arn:aws:ecs:eu-central-1:111122223333:task-definition/demo-dev:%d", i+1)
}

func (w *world) announce(name string) {
	w.announced = append(w.announced, encode(w.t, map[string]any{
		"version": "0", "id": "1", "detail-type": "ECS Deployment State Change", "source": "aws.ecs", "account": account,
		"time": w.clock.Format(time.RFC3339), "region": "eu-central-1", "resources": []string{serviceARN},
		"detail": map[string]any{"eventType": "INFO", "eventName": name, "deploymentId": "ecs-svc/1", "updatedAt": w.clock.Format(time.RFC3339), "reason": "x"},
	}))
}

// deliver calls the function with all events, in their order.
func (w *world) deliver() {
	w.t.Helper()
	for len(w.announced) > 0 {
		if err := w.deliverOne(0); err != nil {
			w.t.Errorf("event: %v", err)
		}
	}
}

func (w *world) deliverOne(i int) error {
	e := w.announced[i]
	w.announced = slices.Delete(w.announced, i, i+1)
	return w.handler.handle(context.Background(), e)
}

// maxPolls is more than any job takes, at the longest time-out.
const maxPolls = 200

// run is one execution of the pipeline, in its stage Deploy.
type run struct {
	*world
	image string
	token string
	calls int
	result
}

func (w *world) startRun(tag string) *run { return &run{world: w, image: uri + ":" + tag} }

// poll calls the function as CodePipeline does, with a new job that carries the last token.
func (r *run) poll() *run {
	r.t.Helper()
	if r.calls++; r.calls > maxPolls {
		r.t.Fatalf("the action has not ended after %d calls: %+v", maxPolls, r.result)
	}
	r.clock = r.clock.Add(30 * time.Second)
	r.artifacts[r.image] = zipOf(r.t, map[string]string{imageDefinitions: fmt.Sprintf(`[{"name":"app","imageUri":%q}]`, r.image)})
	id := r.nextJob()
	if err := r.handler.handle(context.Background(), encode(r.t, job(id, r.token, r.image))); err != nil {
		r.t.Fatalf("call %d: %v", r.calls, err)
	}
	result, ok := r.results[id]
	if !ok {
		r.t.Fatalf("call %d: the job was not answered", r.calls)
	}
	r.result, r.token = result, result.token
	return r
}

func (w *world) nextJob() string {
	w.jobs++
	return fmt.Sprintf("11111111-abcd-1111-abcd-%012x", w.jobs)
}

// ended tells whether the action has ended.
func (r *run) ended() bool { return r.calls > 0 && r.token == "" }

func job(id, token, key string) map[string]any {
	data := map[string]any{
		"actionConfiguration": map[string]any{"configuration": map[string]any{"FunctionName": "release"}},
		"inputArtifacts": []any{map[string]any{
			"name": "Image", "revision": nil,
			"location": map[string]any{"type": "S3", "s3Location": map[string]any{"bucketName": "artifacts", "objectKey": key}},
		}},
		"outputArtifacts":     []any{},
		"artifactCredentials": map[string]any{"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": secret, "sessionToken": "token-" + secret},
	}
	if token != "" {
		data["continuationToken"] = token
	}
	return map[string]any{"CodePipeline.job": map[string]any{"id": id, "accountId": account, "data": data}}
}

func encode(t tester, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func zipOf(t tester, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	for name, content := range files {
		f, err := archive.Create(name)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// liveRuns tells whether a deployment of live would run what runs: the invariant.
func (w *world) liveRuns() error {
	runs := w.stable.digest
	if _, digest, ok := strings.Cut(w.definitions[w.stable.definition].image, "@"); ok {
		runs = digest
	}
	if names := w.tags["live"]; names == "" || w.platform(names) != w.platform(runs) {
		return fmt.Errorf("the service runs %s (%s), but live names %s: %v", w.tagsOf(runs), runs, w.tagsOf(w.tags["live"]), w.tags["live"])
	}
	return nil
}

// tagsOf are the tags of an image, or of the index that holds it.
func (w *world) tagsOf(digest string) []string {
	var tags []string
	for tag, named := range w.tags {
		if named == digest || w.platform(named) == digest {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return tags
}

// wantLive fails the test unless live names an image, and that is what runs.
func (w *world) wantLive(tag string) {
	w.t.Helper()
	if err := w.liveRuns(); err != nil {
		w.t.Error(err)
	}
	if w.tags["live"] != w.tags[tag] {
		w.t.Errorf("live names %v, want %s", w.tagsOf(w.tags["live"]), tag)
	}
}

func (w *world) count(call string) int {
	n := 0
	for _, c := range w.calls {
		if c == call {
			n++
		}
	}
	return n
}

// call is at the beginning of each call to AWS.
func (w *world) call(name string) error {
	w.calls = append(w.calls, name)
	if before := w.before; before != nil {
		w.before = nil // what happens in between is whole
		before(name)
		if w.before == nil {
			w.before = before
		}
	}
	w.tick()
	if w.fault != nil {
		return w.fault(name)
	}
	return nil
}

// ECS. Its lists come in pages of two, the oldest first: no order is documented.

func (w *world) ListServiceDeployments(_ context.Context, in *ecs.ListServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	if err := w.call("ListServiceDeployments"); err != nil {
		return nil, err
	}
	if *in.Cluster != cluster || *in.Service != "web" || *in.MaxResults > 100 {
		return nil, fmt.Errorf("unexpected ListServiceDeployments %+v", in)
	}
	var all []types.ServiceDeploymentBrief
	for _, d := range w.deployments {
		if !d.created.After(*in.CreatedAt.After) || (len(in.Status) > 0 && !slices.Contains(in.Status, d.status)) {
			continue
		}
		brief := types.ServiceDeploymentBrief{ServiceDeploymentArn: &d.arn, CreatedAt: &d.created, Status: d.status, TargetServiceRevisionArn: &d.target.arn}
		if !d.finished.IsZero() {
			brief.FinishedAt = &d.finished
		}
		all = append(all, brief)
	}
	from, _ := strconv.Atoi(aws.ToString(in.NextToken))
	to := min(from+2, len(all))
	out := &ecs.ListServiceDeploymentsOutput{ServiceDeployments: all[min(from, to):to]}
	if to < len(all) {
		out.NextToken = aws.String(strconv.Itoa(to))
	}
	return out, nil
}

func (w *world) DescribeServiceDeployments(_ context.Context, in *ecs.DescribeServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error) {
	if err := w.call("DescribeServiceDeployments"); err != nil {
		return nil, err
	}
	out := &ecs.DescribeServiceDeploymentsOutput{}
	for _, d := range w.deployments {
		if !slices.Contains(in.ServiceDeploymentArns, d.arn) {
			continue
		}
		described := types.ServiceDeployment{
			ServiceDeploymentArn: &d.arn, CreatedAt: &d.created, Status: d.status, StatusReason: &d.reason, Rollback: d.rollback,
			TargetServiceRevision: &types.ServiceRevisionSummary{Arn: &d.target.arn, RunningTaskCount: d.running},
		}
		if !d.finished.IsZero() {
			described.FinishedAt = &d.finished
		}
		out.ServiceDeployments = append(out.ServiceDeployments, described)
	}
	return out, nil
}

func (w *world) DescribeServiceRevisions(_ context.Context, in *ecs.DescribeServiceRevisionsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error) {
	if err := w.call("DescribeServiceRevisions"); err != nil {
		return nil, err
	}
	if n := len(in.ServiceRevisionArns); n == 0 || n > 20 {
		return nil, fmt.Errorf("%d ARNs", n)
	}
	out := &ecs.DescribeServiceRevisionsOutput{}
	for _, arn := range in.ServiceRevisionArns {
		r, ok := w.revisions[arn]
		if !ok {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: aws.String("MISSING")})
			continue
		}
		image := types.ContainerImage{ContainerName: aws.String("app"), Image: &w.definitions[r.definition].image}
		if r.digest != "" {
			image.ImageDigest = &r.digest
		}
		sidecar := types.ContainerImage{ContainerName: aws.String("sidecar"), Image: aws.String("x"), ImageDigest: aws.String("sha256:x")}
		out.ServiceRevisions = append(out.ServiceRevisions, types.ServiceRevision{
			ServiceRevisionArn: &arn, TaskDefinition: aws.String(definitionARN(r.definition)), ContainerImages: []types.ContainerImage{sidecar, image},
		})
	}
	return out, nil
}

func (w *world) DescribeServices(_ context.Context, in *ecs.DescribeServicesInput, _ ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	if err := w.call("DescribeServices"); err != nil {
		return nil, err
	}
	return &ecs.DescribeServicesOutput{Services: []types.Service{{RunningCount: w.desired}}}, nil
}

func (w *world) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	if err := w.call("ListTasks"); err != nil {
		return nil, err
	}
	if in.DesiredStatus != types.DesiredStatusStopped || *in.ServiceName != "web" {
		return nil, fmt.Errorf("unexpected ListTasks %+v", in)
	}
	from, _ := strconv.Atoi(aws.ToString(in.NextToken))
	to := min(from+2, len(w.stopped))
	out := &ecs.ListTasksOutput{}
	for _, task := range w.stopped[from:to] {
		out.TaskArns = append(out.TaskArns, *task.TaskArn)
	}
	if to < len(w.stopped) {
		out.NextToken = aws.String(strconv.Itoa(to))
	}
	return out, nil
}

func (w *world) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if err := w.call("DescribeTasks"); err != nil {
		return nil, err
	}
	if n := len(in.Tasks); n == 0 || n > 100 {
		return nil, fmt.Errorf("%d tasks", n)
	}
	out := &ecs.DescribeTasksOutput{}
	for _, task := range w.stopped {
		if slices.Contains(in.Tasks, *task.TaskArn) {
			out.Tasks = append(out.Tasks, task)
		}
	}
	return out, nil
}

// ECR

func (w *world) BatchGetImage(_ context.Context, in *ecr.BatchGetImageInput, _ ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error) {
	if err := w.call("BatchGetImage"); err != nil {
		return nil, err
	}
	if n := len(in.ImageIds); *in.RepositoryName != "demo-dev" || n == 0 || n > 100 {
		return nil, fmt.Errorf("unexpected BatchGetImage of %d images of %s", n, *in.RepositoryName)
	}
	out := &ecr.BatchGetImageOutput{}
	for _, id := range in.ImageIds {
		digest := aws.ToString(id.ImageDigest)
		if id.ImageTag != nil {
			digest = w.tags[*id.ImageTag]
		}
		image, ok := w.images[digest]
		if !ok || !slices.Contains(in.AcceptedMediaTypes, image.mediaType) {
			out.Failures = append(out.Failures, ecrtypes.ImageFailure{FailureCode: ecrtypes.ImageFailureCodeImageNotFound, ImageId: &id})
			continue
		}
		out.Images = append(out.Images, ecrtypes.Image{
			ImageId: &ecrtypes.ImageIdentifier{ImageDigest: &digest, ImageTag: id.ImageTag}, ImageManifest: &image.raw, ImageManifestMediaType: &image.mediaType,
		})
	}
	return out, nil
}

func (w *world) ListImages(_ context.Context, in *ecr.ListImagesInput, _ ...func(*ecr.Options)) (*ecr.ListImagesOutput, error) {
	if err := w.call("ListImages"); err != nil {
		return nil, err
	}
	if in.Filter.TagStatus != ecrtypes.TagStatusTagged || *in.MaxResults > 1000 {
		return nil, fmt.Errorf("unexpected ListImages %+v", in)
	}
	var all []ecrtypes.ImageIdentifier
	for tag, digest := range w.tags {
		all = append(all, ecrtypes.ImageIdentifier{ImageTag: &tag, ImageDigest: &digest})
	}
	slices.SortFunc(all, func(a, b ecrtypes.ImageIdentifier) int { return strings.Compare(*b.ImageTag, *a.ImageTag) })
	from, _ := strconv.Atoi(aws.ToString(in.NextToken))
	to := min(from+2, len(all))
	out := &ecr.ListImagesOutput{ImageIds: all[from:to]}
	if to < len(all) {
		out.NextToken = aws.String(strconv.Itoa(to))
	}
	return out, nil
}

func (w *world) PutImage(_ context.Context, in *ecr.PutImageInput, _ ...func(*ecr.Options)) (*ecr.PutImageOutput, error) {
	if err := w.call("PutImage"); err != nil {
		return nil, err
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(*in.ImageManifest)))
	image, ok := w.images[digest]
	switch {
	case *in.ImageTag != "live":
		return nil, fmt.Errorf("the tag %s is not the function's", *in.ImageTag)
	case !ok || digest != *in.ImageDigest || image.mediaType != *in.ImageManifestMediaType:
		return nil, &ecrtypes.ImageDigestDoesNotMatchException{Message: aws.String("other bytes, or another media type")}
	case w.tags["live"] == digest:
		return nil, &ecrtypes.ImageAlreadyExistsException{}
	}
	w.tags["live"] = digest
	return &ecr.PutImageOutput{}, nil
}

// CodePipeline, S3 and SNS

func (w *world) PutJobSuccessResult(_ context.Context, in *codepipeline.PutJobSuccessResultInput, _ ...func(*codepipeline.Options)) (*codepipeline.PutJobSuccessResultOutput, error) {
	if err := w.call("PutJobSuccessResult"); err != nil {
		return nil, err
	}
	r := result{token: aws.ToString(in.ContinuationToken), summary: aws.ToString(in.ExecutionDetails.Summary), id: aws.ToString(in.ExecutionDetails.ExternalExecutionId)}
	if len(r.token) > 2048 || len(r.summary) > 2048 || len(r.id) > 1500 || (in.ContinuationToken != nil && r.token == "") {
		return nil, errors.New("ValidationException")
	}
	return &codepipeline.PutJobSuccessResultOutput{}, w.answered(*in.JobId, r)
}

func (w *world) PutJobFailureResult(_ context.Context, in *codepipeline.PutJobFailureResultInput, _ ...func(*codepipeline.Options)) (*codepipeline.PutJobFailureResultOutput, error) {
	if err := w.call("PutJobFailureResult"); err != nil {
		return nil, err
	}
	r := result{failure: aws.ToString(in.FailureDetails.Message)}
	if r.failure == "" || len([]rune(r.failure)) > 1000 || in.FailureDetails.Type == "" {
		w.t.Errorf("a failure message of %d characters: %s", len([]rune(r.failure)), r.failure)
	}
	return &codepipeline.PutJobFailureResultOutput{}, w.answered(*in.JobId, r)
}

func (w *world) answered(id string, r result) error {
	if _, ok := w.results[id]; ok {
		w.t.Errorf("job %s was answered twice", id)
	}
	w.results[id] = r
	return nil
}

func (w *world) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	if err := w.call("GetObject"); err != nil {
		return nil, err
	}
	artifact, ok := w.artifacts[*in.Key]
	if !ok || *in.Bucket != "artifacts" {
		return nil, fmt.Errorf("AccessDenied: object %s of bucket %s", *in.Key, *in.Bucket)
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(artifact))}, nil
}

func (w *world) Publish(_ context.Context, in *sns.PublishInput, _ ...func(*sns.Options)) (*sns.PublishOutput, error) {
	if err := w.call("Publish"); err != nil {
		return nil, err
	}
	title := aws.ToString(in.Subject)
	if *in.TopicArn != topic || title == "" || len(title) > 100 || strings.ContainsFunc(title, func(r rune) bool { return r < ' ' || r > '~' }) {
		w.t.Errorf("unexpected subject %q for %s", title, *in.TopicArn)
	}
	w.published = append(w.published, in)
	return &sns.PublishOutput{}, nil
}
