package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"flask-on-fargate/internal/account"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/folders"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const commitTag = "sha-6dcb09b5b57875f334f61aebed695e2e4193db5e"

// fakeAWS is one account with the environments dev and prod of the project flask. Its repositories are real ones, and they
// share no layers.
type fakeAWS struct {
	registry           *httptest.Server
	account            string
	outputs            map[string]map[string]string // by stack
	ecs                map[string]*fakeECS          // by environment
	profiles           []string                     // of the connections
	change.StackReader                              // what the guard reads

	// fault may answer a request in the registry's place; then it returns true.
	fault func(http.ResponseWriter, *http.Request) bool

	mu       sync.Mutex
	requests []string // to the registry: method and path
	clock    time.Time
}

func newFakeAWS(t *testing.T) *fakeAWS {
	t.Helper()
	f := &fakeAWS{
		account: "111111111111", outputs: map[string]map[string]string{}, ecs: map[string]*fakeECS{},
		clock: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
	}
	repository := func() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }
	dev, prod := repository(), repository()
	f.registry = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		faulty := f.fault != nil && f.fault(w, r)
		f.mu.Unlock()
		switch {
		case faulty:
		case strings.HasPrefix(r.URL.Path, "/v2/flask-prod/"):
			prod.ServeHTTP(w, r)
		default:
			dev.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.registry.Close)

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, folders.Config), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, env := range []string{"dev", "prod"} {
		f.configure(t, env, "")
		f.outputs["flask-"+env+"-data"] = map[string]string{"RepositoryUri": repositoryURI(env)}
		f.outputs["flask-"+env+"-service"] = map[string]string{"ClusterName": "flask-" + env + "-cluster", "ServiceName": "flask-" + env + "-web"}
		f.ecs[env] = newFakeECS(env)
	}
	return f
}

func repositoryURI(env string) string {
	return "111111111111.dkr.ecr.eu-central-1.amazonaws.com/flask-" + env
}

// configure writes the file of an environment: the least, and more.
func (f *fakeAWS) configure(t *testing.T, env, more string) {
	t.Helper()
	text := "project: flask\nregion: eu-central-1\ndatabase: {name: flask, user: flask}\n" + more
	if err := os.WriteFile(filepath.Join(folders.Config, env+".yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// infra runs the tool with somebody in front who types answer, or with nobody if answer is "".
func (f *fakeAWS) infra(answer string, args ...string) (code int, stdout, stderr string) {
	w := world{
		connect: func(_ context.Context, region, profile string) (account.Account, error) {
			if region != "eu-central-1" {
				return account.Account{}, fmt.Errorf("region %s", region)
			}
			f.profiles = append(f.profiles, profile)
			return account.Account{Identity: f, Stacks: f, Images: f, Services: ecsOf{f}}, nil
		},
		asks:    answer != "",
		Clock:   clock.Manual(&f.clock),
		backoff: remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 4},
	}
	var out, problems bytes.Buffer
	code = runIn(w, args, strings.NewReader(answer), &out, &problems)
	return code, out.String(), problems.String()
}

func (f *fakeAWS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: &f.account, Arn: aws.String("arn:aws:iam::" + f.account + ":user/ada")}, nil
}

func (f *fakeAWS) DescribeStacks(_ context.Context, in *cloudformation.DescribeStacksInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error) {
	outputs, ok := f.outputs[*in.StackName]
	if !ok {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "Stack with id " + *in.StackName + " does not exist"}
	}
	stack := cftypes.Stack{StackName: in.StackName}
	for key, value := range outputs {
		stack.Outputs = append(stack.Outputs, cftypes.Output{OutputKey: &key, OutputValue: &value})
	}
	return &cloudformation.DescribeStacksOutput{Stacks: []cftypes.Stack{stack}}, nil
}

func (f *fakeAWS) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	token := "QVdTOnBhc3N3b3Jk" // AWS:password
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []ecrtypes.AuthorizationData{{AuthorizationToken: &token, ProxyEndpoint: &f.registry.URL}}}, nil
}

// DescribeImages finds an image's tags in the registry.
func (f *fakeAWS) DescribeImages(_ context.Context, in *ecr.DescribeImagesInput, _ ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error) {
	repo, err := name.NewRepository(strings.TrimPrefix(f.registry.URL, "http://") + "/" + *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if _, err := remote.Head(repo.Digest(*in.ImageIds[0].ImageDigest)); err != nil {
		return nil, &ecrtypes.ImageNotFoundException{}
	}
	all, err := remote.List(repo)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, tag := range all {
		if d, err := remote.Head(repo.Tag(tag)); err == nil && d.Digest.String() == *in.ImageIds[0].ImageDigest {
			tags = append(tags, tag)
		}
	}
	return &ecr.DescribeImagesOutput{ImageDetails: []ecrtypes.ImageDetail{{ImageTags: tags}}}, nil
}

func (f *fakeAWS) ref(t *testing.T, env, tag string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(strings.TrimPrefix(f.registry.URL, "http://") + "/flask-" + env + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// push makes tags of an environment's repository name an image, and returns its digest.
func (f *fakeAWS) push(t *testing.T, env string, image remote.Taggable, tags ...string) string {
	t.Helper()
	for _, tag := range tags {
		if err := remote.Push(f.ref(t, env, tag), image); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
	return digestOf(t, image)
}

func digestOf(t *testing.T, image any) string {
	t.Helper()
	digest, err := image.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// writes are the requests that changed an environment's repository.
func (f *fakeAWS) writes(env string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.requests), func(r string) bool {
		return strings.HasPrefix(r, "GET") || strings.HasPrefix(r, "HEAD") || !strings.Contains(r, "/flask-"+env+"/")
	})
}

// imageFor is an application's image for one platform.
func imageFor(t *testing.T, os, arch string) v1.Image {
	t.Helper()
	image, err := random.Image(512, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = os, arch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// indexOf is an index of images, as Docker makes it: the platforms are stated, unknown ones are attestations.
func indexOf(t *testing.T, platforms ...string) v1.ImageIndex {
	t.Helper()
	var manifests []mutate.IndexAddendum
	for _, platform := range platforms {
		os, arch, _ := strings.Cut(platform, "/")
		manifests = append(manifests, mutate.IndexAddendum{
			Add: imageFor(t, os, arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}},
		})
	}
	return mutate.AppendManifests(empty.Index, manifests...)
}

// fakeECS is one environment's service. Its task definition has more than the container that is deployed.
type fakeECS struct {
	env      string
	service  types.Service
	current  ecs.DescribeTaskDefinitionOutput
	running  []types.Task
	stopped  []types.Task
	before   int                       // deployments that it had before
	progress []types.ServiceDeployment // what the deployment is, poll by poll; the last one stays
	late     int                       // polls until it appears; never if negative
	updates  []string                  // task definitions that the service was made to use
	made     *ecs.RegisterTaskDefinitionInput

	fail map[string]error // by operation
	hook func(operation string)
}

// The revisions of an environment's task definition: in use, and registered by the tool.
func oldRevision(env string) string {
	return "arn:aws:ecs:eu-central-1:111111111111:task-definition/flask-" + env + ":7"
}

func newRevision(env string) string {
	return "arn:aws:ecs:eu-central-1:111111111111:task-definition/flask-" + env + ":8"
}

func newFakeECS(env string) *fakeECS {
	created := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) // ECS's clock is not ours
	return &fakeECS{
		env: env, before: 1,
		service: types.Service{
			ServiceName: aws.String("flask-" + env + "-web"), Status: aws.String("ACTIVE"), DesiredCount: 2, TaskDefinition: aws.String(oldRevision(env)),
			LoadBalancers: []types.LoadBalancer{{ContainerName: aws.String("app"), ContainerPort: aws.Int32(5000)}},
			Deployments:   []types.Deployment{{Status: aws.String("PRIMARY"), RolloutState: types.DeploymentRolloutStateCompleted, CreatedAt: &created}},
		},
		current: ecs.DescribeTaskDefinitionOutput{
			TaskDefinition: &types.TaskDefinition{
				TaskDefinitionArn: aws.String(oldRevision(env)), Family: aws.String("flask-" + env), Cpu: aws.String("256"),
				ContainerDefinitions: []types.ContainerDefinition{
					{Name: aws.String("sidecar"), Image: aws.String("sidecar:1")},
					{Name: aws.String("app"), Image: aws.String(repositoryURI(env) + ":live"), Environment: []types.KeyValuePair{{Name: aws.String("A"), Value: aws.String("1")}}},
				},
			},
			Tags: []types.Tag{}, // as ECS answers without any
		},
		progress: []types.ServiceDeployment{
			deployment(types.ServiceDeploymentStatusPending, 0),
			deployment(types.ServiceDeploymentStatusInProgress, 0),
			deployment(types.ServiceDeploymentStatusInProgress, 1),
			deployment(types.ServiceDeploymentStatusInProgress, 1),
			deployment(types.ServiceDeploymentStatusSuccessful, 2),
		},
		fail: map[string]error{},
	}
}

// deployment is one of two tasks.
func deployment(status types.ServiceDeploymentStatus, running int32) types.ServiceDeployment {
	return types.ServiceDeployment{Status: status, TargetServiceRevision: &types.ServiceRevisionSummary{RequestedTaskCount: 2, RunningTaskCount: running}}
}

// runs makes the service's tasks run an image, as ECS names it.
func (f *fakeECS) runs(image, digest string) {
	f.running = append(f.running, types.Task{Containers: []types.Container{
		{Name: aws.String("sidecar"), Image: aws.String("sidecar:1"), ImageDigest: aws.String("sha256:5")},
		{Name: aws.String("app"), Image: &image, ImageDigest: &digest},
	}})
}

// runsOn makes the task definition in use name an architecture.
func (f *fakeECS) runsOn(architecture types.CPUArchitecture) {
	f.current.TaskDefinition.RuntimePlatform = &types.RuntimePlatform{CpuArchitecture: architecture}
}

func (f *fakeECS) begin(operation string) error {
	if f.hook != nil {
		f.hook(operation)
	}
	return f.fail[operation]
}

// ecsOf is ECS. Every name and ARN in it tells the environment that it is of.
type ecsOf struct{ aws *fakeAWS }

func (e ecsOf) in(name *string) *fakeECS {
	for env, f := range e.aws.ecs {
		if strings.Contains(aws.ToString(name), env) {
			return f
		}
	}
	panic(fmt.Sprintf("no environment is called for by %q", aws.ToString(name)))
}

func (e ecsOf) DescribeServices(_ context.Context, in *ecs.DescribeServicesInput, _ ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	f := e.in(in.Cluster)
	if err := f.begin("DescribeServices"); err != nil {
		return nil, err
	}
	if len(in.Services) != 1 || in.Services[0] != *f.service.ServiceName {
		return &ecs.DescribeServicesOutput{}, nil
	}
	return &ecs.DescribeServicesOutput{Services: []types.Service{f.service}}, nil
}

// page is a page of a list of n, from its token on. Pages are smaller than those of AWS.
func page(n int, token *string) (from, to int, next *string) {
	from, _ = strconv.Atoi(aws.ToString(token))
	if to = min(from+2, n); to < n {
		next = aws.String(strconv.Itoa(to))
	}
	return from, to, next
}

func (e ecsOf) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	f := e.in(in.Cluster)
	tasks := f.running
	if in.DesiredStatus == types.DesiredStatusStopped {
		tasks = f.stopped
	}
	from, to, next := page(len(tasks), in.NextToken)
	var arns []string
	for i := range tasks[from:to] {
		arns = append(arns, fmt.Sprint(in.DesiredStatus, " ", from+i))
	}
	return &ecs.ListTasksOutput{TaskArns: arns, NextToken: next}, f.begin("ListTasks")
}

func (e ecsOf) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if n := len(in.Tasks); n == 0 || n > 100 {
		return nil, fmt.Errorf("InvalidParameterException: %d tasks", n)
	}
	f, out := e.in(in.Cluster), &ecs.DescribeTasksOutput{}
	for _, arn := range in.Tasks {
		tasks := f.running
		status, number, _ := strings.Cut(arn, " ")
		if status == "STOPPED" {
			tasks = f.stopped
		}
		i, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		out.Tasks = append(out.Tasks, tasks[i])
	}
	return out, nil
}

func (e ecsOf) DescribeTaskDefinition(_ context.Context, in *ecs.DescribeTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error) {
	f := e.in(in.TaskDefinition)
	if !slices.Contains(in.Include, types.TaskDefinitionFieldTags) || *in.TaskDefinition != *f.current.TaskDefinition.TaskDefinitionArn {
		return nil, fmt.Errorf("asked for %s including %v", *in.TaskDefinition, in.Include)
	}
	return &f.current, f.begin("DescribeTaskDefinition")
}

func (e ecsOf) RegisterTaskDefinition(_ context.Context, in *ecs.RegisterTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error) {
	f := e.in(in.Family)
	if err := f.begin("RegisterTaskDefinition"); err != nil {
		return nil, err
	}
	if in.Tags != nil && len(in.Tags) == 0 {
		return nil, errors.New("InvalidParameterException: Tags can not be empty.")
	}
	f.made = in
	return &ecs.RegisterTaskDefinitionOutput{TaskDefinition: &types.TaskDefinition{TaskDefinitionArn: aws.String(newRevision(f.env))}}, nil
}

func (e ecsOf) UpdateService(_ context.Context, in *ecs.UpdateServiceInput, _ ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error) {
	f := e.in(in.Cluster)
	if err := f.begin("UpdateService"); err != nil {
		return nil, err
	}
	f.updates = append(f.updates, *in.Service+" "+*in.TaskDefinition)
	return &ecs.UpdateServiceOutput{Service: &f.service}, nil
}

// ListServiceDeployments shows those that the service had before, and ours once it appears.
func (e ecsOf) ListServiceDeployments(_ context.Context, in *ecs.ListServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	f := e.in(in.Cluster)
	if err := f.begin("ListServiceDeployments"); err != nil {
		return nil, err
	}
	if in.CreatedAt == nil || !in.CreatedAt.After.Before(*f.service.Deployments[0].CreatedAt) {
		return nil, errors.New("the filter would hide the deployment")
	}
	var all []types.ServiceDeploymentBrief
	show := func(id string) {
		all = append(all, types.ServiceDeploymentBrief{
			ServiceDeploymentArn: aws.String("deployment/" + f.env + "/" + id), TargetServiceRevisionArn: aws.String("revision/" + f.env + "/" + id),
		})
	}
	for i := range f.before {
		show("old" + strconv.Itoa(i))
	}
	if f.late == 0 {
		show("new")
	}
	from, to, next := page(len(all), in.NextToken)
	if next == nil {
		f.late = max(f.late-1, min(f.late, 0))
	}
	return &ecs.ListServiceDeploymentsOutput{ServiceDeployments: all[from:to], NextToken: next}, nil
}

func (e ecsOf) DescribeServiceRevisions(_ context.Context, in *ecs.DescribeServiceRevisionsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error) {
	if n := len(in.ServiceRevisionArns); n == 0 || n > 20 {
		return nil, fmt.Errorf("InvalidParameterException: %d revisions", n)
	}
	var out ecs.DescribeServiceRevisionsOutput
	f := e.in(&in.ServiceRevisionArns[0])
	for _, arn := range in.ServiceRevisionArns {
		definition := oldRevision(f.env)
		if strings.HasSuffix(arn, "/new") {
			definition = newRevision(f.env)
		}
		out.ServiceRevisions = append(out.ServiceRevisions, types.ServiceRevision{ServiceRevisionArn: &arn, TaskDefinition: &definition})
	}
	return &out, f.begin("DescribeServiceRevisions")
}

func (e ecsOf) DescribeServiceDeployments(_ context.Context, in *ecs.DescribeServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error) {
	f := e.in(&in.ServiceDeploymentArns[0])
	if err := f.begin("DescribeServiceDeployments"); err != nil {
		return nil, err
	}
	if !slices.Equal(in.ServiceDeploymentArns, []string{"deployment/" + f.env + "/new"}) {
		return nil, fmt.Errorf("asked for %v", in.ServiceDeploymentArns)
	}
	now := f.progress[0]
	if len(f.progress) > 1 {
		f.progress = f.progress[1:]
	}
	return &ecs.DescribeServiceDeploymentsOutput{ServiceDeployments: []types.ServiceDeployment{now}}, nil
}
