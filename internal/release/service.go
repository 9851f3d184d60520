package release

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/registry"
	"flask-on-fargate/internal/rollout"
	"flask-on-fargate/internal/stop"
)

// Service is the application's service, as it is in ECS.
type Service struct {
	rollout.Service
	Deploying bool // a deployment is in progress
	Running   []Running

	container      string // the one behind the load balancer
	taskDefinition string // ARN of the revision in use
	definition     *ecs.DescribeTaskDefinitionOutput
}

// Running is an image that tasks of a service run.
type Running struct {
	Digest string // its own, or that of its platform
	Tasks  int

	image string // as the task definition names it
}

// service reads the environment's service. One that is scaled to zero is an error: nothing would run the deployed image.
func (e *Environment) service(ctx context.Context) (*Service, error) {
	outputs, err := e.account.Outputs(ctx, e.Environment, "service", "ClusterName", "ServiceName")
	if err != nil {
		return nil, err
	}
	s := &Service{Service: rollout.Service{ECS: e.account.Services, Cluster: outputs[0], Name: outputs[1]}}
	out, err := s.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &s.Cluster, Services: []string{s.Name}})
	if err != nil {
		return nil, e.errorf("read service %s of cluster %s: %w", s.Name, s.Cluster, err)
	}
	if len(out.Services) != 1 || aws.ToString(out.Services[0].Status) != "ACTIVE" {
		return nil, e.errorf("there is no active service %s in cluster %s; run npx cdk deploy --all -c env=%s", s.Name, s.Cluster, e.Name)
	}
	found := out.Services[0]
	if len(found.LoadBalancers) != 1 {
		return nil, e.errorf("service %s has %d load balancers, want the one that names the application's container; deploy the environment's stacks again", s.Name, len(found.LoadBalancers))
	}
	if found.DesiredCount == 0 {
		return nil, e.stopf("service %s is scaled to zero, so that nothing would run the image; start it first: "+
			"aws ecs update-service --cluster %s --service %s --desired-count %d", s.Name, s.Cluster, s.Name, e.Service.DesiredCount)
	}
	s.container = aws.ToString(found.LoadBalancers[0].ContainerName)
	s.taskDefinition = aws.ToString(found.TaskDefinition)
	s.definition, err = e.account.Services.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &s.taskDefinition, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if err != nil {
		return nil, e.errorf("read task definition %s: %w", s.taskDefinition, err)
	}
	s.Deploying = slices.ContainsFunc(found.Deployments, func(d types.Deployment) bool {
		return d.RolloutState == types.DeploymentRolloutStateInProgress
	})
	tasks, err := s.Tasks(ctx, types.DesiredStatusRunning)
	if err != nil {
		return nil, e.errorf("%w", err)
	}
	for _, task := range tasks {
		s.count(task)
	}
	return s, nil
}

// count adds a task's image to those that run.
func (s *Service) count(task types.Task) {
	for _, c := range task.Containers {
		if aws.ToString(c.Name) != s.container || aws.ToString(c.ImageDigest) == "" {
			continue
		}
		i := slices.IndexFunc(s.Running, func(r Running) bool { return r.Digest == *c.ImageDigest })
		if i < 0 {
			i = len(s.Running)
			s.Running = append(s.Running, Running{image: aws.ToString(c.Image), Digest: *c.ImageDigest})
		}
		s.Running[i].Tasks++
	}
}

// RunsOnly tells whether the service runs one image, and no deployment is about to change that.
func (s *Service) RunsOnly(image *registry.Image) bool {
	return !s.Deploying && len(s.Running) == 1 && image.Holds(s.Running[0].Digest)
}

// architecture is that of the task definition in use: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
func (s *Service) architecture() types.CPUArchitecture {
	if p := s.definition.TaskDefinition.RuntimePlatform; p != nil {
		return cmp.Or(p.CpuArchitecture, types.CPUArchitectureX8664)
	}
	return types.CPUArchitectureX8664
}

// Candidate is an image that may be deployed to a service.
type Candidate struct {
	*registry.Image
	Service *Service
	Tags    []string // in the repository that the image comes from
}

// Candidate reads the environment's service, and an image of an environment's repository, this one's or another's. The tasks of the
// service can run the image.
func (e *Environment) Candidate(ctx context.Context, from *Environment, reference string) (*Candidate, error) {
	s, err := e.service(ctx)
	if err != nil {
		return nil, err
	}
	image, err := from.inspect(reference)
	if err != nil {
		return nil, err
	}
	if image.Placeholder && from != e {
		return nil, stop.Errorf("the image %s of %s is the placeholder that this project deploys until the application is released: release the application to %[2]s first", reference, from.Name)
	}
	if err := e.checkArchitecture(s, image, reference); err != nil {
		return nil, err
	}
	tags, err := from.tags(ctx, image.Digest.String())
	return &Candidate{image, s, tags}, err
}

// checkArchitecture stops an image that the service's tasks cannot run: ECS would try three times, and roll back. The task definition in
// use decides, since its next revision keeps everything but the image. The configuration file may be ahead of it.
func (e *Environment) checkArchitecture(s *Service, image *registry.Image, reference string) error {
	want := platform.Architecture(s.architecture()).GOARCH()
	if image.RunsOn(want) {
		return nil
	}
	return stop.Errorf("the image %s (%s) does not run in %s, whose tasks run on %s by the task definition in use, %s: it is for [%s], not for linux/%s.\n"+
		"To change the architecture, push an image for both (docker buildx build --platform linux/amd64,linux/arm64), "+
		"infra release it, change architecture in %s/%[3]s.yaml, and deploy the infrastructure",
		reference, image.Digest, e.Name, s.architecture(), s.taskDefinition, image.PlatformNames(), want, folders.Config)
}

// TagsOfRunning returns the tags of an image that runs. ECS may know it by the digest of its platform, which has no tag itself. Then
// they are the tags of the index that holds it, if the task or live names that index.
func (e *Environment) TagsOfRunning(ctx context.Context, r Running) ([]string, error) {
	tags, err := e.tags(ctx, r.Digest)
	if err != nil || len(tags) > 0 {
		return tags, err
	}
	named, _ := strings.CutPrefix(r.image, e.RepositoryURI)
	named, _, _ = strings.Cut(strings.TrimPrefix(named, ":"), "@")
	for _, tag := range []string{named, imagetag.Live} {
		if !tagPattern.MatchString(tag) {
			continue
		}
		index, err := e.repository.Inspect(tag)
		if err != nil {
			return nil, e.errorf("%w", err)
		}
		if index != nil && index.Holds(r.Digest) {
			return e.tags(ctx, index.Digest.String())
		}
	}
	return nil, nil
}

// Deploy makes the service run an image, and follows the deployment to its end. Once ECS has accepted the deployment, an interrupt ends
// only the following.
func (e *Environment) Deploy(ctx context.Context, s *Service, image string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// Minutes may have passed with the question or a copy. A deployment of that time must not be taken back.
	now, err := e.service(ctx)
	if err != nil {
		return err
	}
	if now.taskDefinition != s.taskDefinition {
		return e.stopf("service %s was deployed meanwhile: it used %s, and now %s; run the command again", s.Name, s.taskDefinition, now.taskDefinition)
	}
	revision, err := withImage(now.definition, s.container, image)
	if err != nil {
		return e.errorf("%w", err)
	}
	registered, err := e.account.Services.RegisterTaskDefinition(ctx, revision)
	if err != nil {
		return e.stopf("register a revision of %s: %w; nothing was deployed", aws.ToString(revision.Family), err)
	}
	arn := aws.ToString(registered.TaskDefinition.TaskDefinitionArn)
	updated, err := e.account.Services.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &s.Cluster, Service: &s.Name, TaskDefinition: &arn})
	if err != nil {
		return e.stopf("make service %s use %s: %w", s.Name, arn, err)
	}
	fmt.Fprintf(e.out, "\nDeploying %s\n", image)
	f := follower{Environment: e, service: s, taskDefinition: arn, image: image, start: e.clock.Now()}
	return f.follow(ctx, updated.Service)
}

// withImage returns the registration of a task definition anew, with another image of one container. What describes the old revision is
// left out, and so are the tags that only AWS may set.
func withImage(current *ecs.DescribeTaskDefinitionOutput, container, image string) (*ecs.RegisterTaskDefinitionInput, error) {
	data, err := json.Marshal(current.TaskDefinition)
	if err != nil {
		return nil, err
	}
	var revision ecs.RegisterTaskDefinitionInput // its fields have the names of the task definition's
	if err := json.Unmarshal(data, &revision); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(revision.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == container })
	if i < 0 {
		return nil, fmt.Errorf("task definition %s has no container %q, which is behind the load balancer; deploy the environment's stacks again", aws.ToString(current.TaskDefinition.TaskDefinitionArn), container)
	}
	revision.ContainerDefinitions[i].Image = &image
	for _, tag := range current.Tags { // no tag is nil: ECS refuses an empty list
		if !strings.HasPrefix(aws.ToString(tag.Key), "aws:") {
			revision.Tags = append(revision.Tags, tag)
		}
	}
	return &revision, nil
}
