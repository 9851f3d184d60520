package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"flask-on-fargate/internal/plaintext"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

const (
	pollInterval = 5 * time.Second
	// appearTime is how long ECS may take to show a deployment that it has accepted.
	appearTime = 2 * time.Minute
	// deploymentTime is how long a deployment is followed. CodePipeline waits no longer either:
	// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
	deploymentTime = time.Hour
	// maxReasons is how many different reasons of stopped tasks a failure names: tasks of one deployment mostly share one.
	maxReasons = 3

	// taskBatch and revisionBatch are the most that DescribeTasks and DescribeServiceRevisions take:
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
	taskBatch     = 100
	revisionBatch = 20
)

// serviceController is the part of ECS that reads and deploys services.
type serviceController interface {
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	RegisterTaskDefinition(context.Context, *ecs.RegisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error)
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// service is the application's service, as it is in ECS.
type service struct {
	cluster, name  string
	container      string // the one behind the load balancer
	taskDefinition string // ARN of the revision in use
	definition     *ecs.DescribeTaskDefinitionOutput
	deploying      bool // a deployment is in progress
	running        []running
}

// architecture is that of the task definition in use: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
func (s *service) architecture() types.CPUArchitecture {
	if p := s.definition.TaskDefinition.RuntimePlatform; p != nil && p.CpuArchitecture != "" {
		return p.CpuArchitecture
	}
	return types.CPUArchitectureX8664
}

// running is an image that tasks of a service run.
type running struct {
	image  string // as the task definition names it
	digest string // its own, or that of its platform
	tasks  int
}

// service reads the environment's service. One that is scaled to zero is an error: nothing would run what is deployed.
func (e *environment) service(ctx context.Context) (*service, error) {
	outputs, err := e.outputs(ctx, "service", "ClusterName", "ServiceName")
	if err != nil {
		return nil, err
	}
	s := &service{cluster: outputs[0], name: outputs[1]}
	out, err := e.services.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &s.cluster, Services: []string{s.name}})
	if err != nil {
		return nil, fmt.Errorf("environment %s: read service %s of cluster %s: %w", e.Name, s.name, s.cluster, err)
	}
	if len(out.Services) != 1 || aws.ToString(out.Services[0].Status) != "ACTIVE" {
		return nil, fmt.Errorf("environment %s: there is no active service %s in cluster %s; run npx cdk deploy --all -c env=%[1]s", e.Name, s.name, s.cluster)
	}
	found := out.Services[0]
	if len(found.LoadBalancers) != 1 {
		return nil, fmt.Errorf("environment %s: service %s has %d load balancers, want the one that names the application's container; deploy the environment's stacks again", e.Name, s.name, len(found.LoadBalancers))
	}
	if found.DesiredCount == 0 {
		return nil, stop("environment %s: service %s is scaled to zero, so that nothing would run the image; start it first: "+
			"aws ecs update-service --cluster %s --service %[2]s --desired-count %[4]d", e.Name, s.name, s.cluster, e.Service.DesiredCount)
	}
	s.container = aws.ToString(found.LoadBalancers[0].ContainerName)
	s.taskDefinition = aws.ToString(found.TaskDefinition)
	s.definition, err = e.services.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &s.taskDefinition, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	if err != nil {
		return nil, fmt.Errorf("environment %s: read task definition %s: %w", e.Name, s.taskDefinition, err)
	}
	s.deploying = slices.ContainsFunc(found.Deployments, func(d types.Deployment) bool {
		return d.RolloutState == types.DeploymentRolloutStateInProgress
	})
	tasks, err := e.tasks(ctx, s, types.DesiredStatusRunning)
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		s.count(task)
	}
	return s, nil
}

// count adds a task's image to those that run.
func (s *service) count(task types.Task) {
	for _, c := range task.Containers {
		if aws.ToString(c.Name) != s.container || aws.ToString(c.ImageDigest) == "" {
			continue
		}
		i := slices.IndexFunc(s.running, func(r running) bool { return r.digest == *c.ImageDigest })
		if i < 0 {
			i = len(s.running)
			s.running = append(s.running, running{image: aws.ToString(c.Image), digest: *c.ImageDigest})
		}
		s.running[i].tasks++
	}
}

// tasks returns the tasks of a service that are to run, or that have stopped.
func (e *environment) tasks(ctx context.Context, s *service, status types.DesiredStatus) ([]types.Task, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(e.services, &ecs.ListTasksInput{Cluster: &s.cluster, ServiceName: &s.name, DesiredStatus: status})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("environment %s: list the tasks of service %s: %w", e.Name, s.name, err)
		}
		arns = append(arns, page.TaskArns...)
	}
	var tasks []types.Task
	for batch := range slices.Chunk(arns, taskBatch) {
		out, err := e.services.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &s.cluster, Tasks: batch})
		if err != nil {
			return nil, fmt.Errorf("environment %s: read the tasks of service %s: %w", e.Name, s.name, err)
		}
		tasks = append(tasks, out.Tasks...)
	}
	return tasks, nil
}

// deploy makes the service run an image, and follows the deployment to its end. Once ECS has accepted it, an interrupt ends
// the following only.
func (e *environment) deploy(ctx context.Context, w world, out io.Writer, s *service, image string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// Minutes may have passed with the question or a copy. What is deployed now must not take anything back.
	now, err := e.service(ctx)
	if err != nil {
		return err
	}
	if now.taskDefinition != s.taskDefinition {
		return stop("environment %s: service %s was deployed meanwhile: it used %s, and now %s; run the command again", e.Name, s.name, s.taskDefinition, now.taskDefinition)
	}
	revision, err := withImage(now.definition, s.container, image)
	if err != nil {
		return fmt.Errorf("environment %s: %w", e.Name, err)
	}
	registered, err := e.services.RegisterTaskDefinition(ctx, revision)
	if err != nil {
		return stop("environment %s: register a revision of %s: %w; nothing was deployed", e.Name, aws.ToString(revision.Family), err)
	}
	arn := aws.ToString(registered.TaskDefinition.TaskDefinitionArn)
	updated, err := e.services.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: &s.cluster, Service: &s.name, TaskDefinition: &arn})
	if err != nil {
		return stop("environment %s: make service %s use %s: %w", e.Name, s.name, arn, err)
	}
	fmt.Fprintf(out, "\nDeploying %s\n", image)
	f := follower{environment: e, world: w, service: s, taskDefinition: arn, image: image, out: out, start: w.Now()}
	return f.follow(ctx, updated.Service)
}

// withImage returns the registration of a task definition anew, with another image of one container. What describes the old
// revision is left out, and so are the tags that only AWS may set.
func withImage(current *ecs.DescribeTaskDefinitionOutput, container, image string) (*ecs.RegisterTaskDefinitionInput, error) {
	d := current.TaskDefinition
	containers := slices.Clone(d.ContainerDefinitions)
	i := slices.IndexFunc(containers, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == container })
	if i < 0 {
		return nil, fmt.Errorf("task definition %s has no container %q, which is behind the load balancer; deploy the environment's stacks again", aws.ToString(d.TaskDefinitionArn), container)
	}
	containers[i].Image = &image
	tags := slices.DeleteFunc(slices.Clone(current.Tags), func(tag types.Tag) bool {
		return strings.HasPrefix(aws.ToString(tag.Key), "aws:")
	})
	if len(tags) == 0 {
		tags = nil // ECS refuses an empty list
	}
	return &ecs.RegisterTaskDefinitionInput{
		ContainerDefinitions:    containers,
		Family:                  d.Family,
		Cpu:                     d.Cpu,
		EnableFaultInjection:    d.EnableFaultInjection,
		EphemeralStorage:        d.EphemeralStorage,
		ExecutionRoleArn:        d.ExecutionRoleArn,
		InferenceAccelerators:   d.InferenceAccelerators,
		IpcMode:                 d.IpcMode,
		Memory:                  d.Memory,
		NetworkMode:             d.NetworkMode,
		PidMode:                 d.PidMode,
		PlacementConstraints:    d.PlacementConstraints,
		ProxyConfiguration:      d.ProxyConfiguration,
		RequiresCompatibilities: d.RequiresCompatibilities,
		RuntimePlatform:         d.RuntimePlatform,
		TaskRoleArn:             d.TaskRoleArn,
		Volumes:                 d.Volumes,
		Tags:                    tags,
	}, nil
}

// follower follows the deployment of a task definition's revision that was registered for it alone.
type follower struct {
	*environment
	world
	service        *service
	taskDefinition string
	image          string
	out            io.Writer
	start          time.Time
	said           string // the last line
}

// follow returns nil when ECS has completed the deployment. The service is as it was right after the update.
func (f *follower) follow(ctx context.Context, updated *types.Service) error {
	arn, err := f.find(ctx, updated)
	if err != nil {
		return f.unsure(err)
	}
	for {
		d, err := f.describe(ctx, arn)
		if err != nil {
			return f.unsure(err)
		}
		switch d.Status {
		case types.ServiceDeploymentStatusSuccessful:
			f.say("completed")
			fmt.Fprintf(f.out, "\nService %s runs %s on %s.\nThe tag live is moved to it by the environment itself, within about a minute.\n",
				f.service.name, f.image, plaintext.Count(runningTasks(d), "task"))
			return nil
		case types.ServiceDeploymentStatusRollbackSuccessful:
			f.say("rolled back")
			return f.failed(ctx, d, "was rolled back: the service runs what it ran before")
		case types.ServiceDeploymentStatusRollbackFailed:
			return f.failed(ctx, d, "failed, and so did the rollback")
		case types.ServiceDeploymentStatusStopped:
			return f.failed(ctx, d, "was stopped, by somebody or by a newer deployment")
		case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress:
			f.say("rolling back: " + reason(d))
		case types.ServiceDeploymentStatusStopRequested:
			f.say("stopping")
		default:
			f.say(progress(d))
		}
		if f.Now().Sub(f.start) >= deploymentTime {
			return f.unsure(fmt.Errorf("the deployment %s has not ended after %s", arn, deploymentTime))
		}
		if err := f.Wait(ctx, pollInterval); err != nil {
			return f.unsure(err)
		}
	}
}

// find waits for the deployment to appear, and returns its ARN.
func (f *follower) find(ctx context.Context, updated *types.Service) (string, error) {
	input := &ecs.ListServiceDeploymentsInput{Cluster: &f.service.cluster, Service: &f.service.name}
	if updated != nil && len(updated.Deployments) > 0 && updated.Deployments[0].CreatedAt != nil {
		// By ECS's own clock, with room for two parts of it that differ.
		input.CreatedAt = &types.CreatedAt{After: aws.Time(updated.Deployments[0].CreatedAt.Add(-time.Minute))}
	}
	for {
		if arn, err := f.look(ctx, *input); err != nil || arn != "" {
			return arn, err
		}
		if f.Now().Sub(f.start) >= appearTime {
			return "", fmt.Errorf("ECS shows no deployment of %s after %s", f.taskDefinition, appearTime)
		}
		f.say("waiting for ECS to begin")
		if err := f.Wait(ctx, pollInterval); err != nil {
			return "", err
		}
	}
}

// look returns the ARN of the deployment, or "" if ECS does not list it yet.
func (f *follower) look(ctx context.Context, input ecs.ListServiceDeploymentsInput) (string, error) {
	byRevision := map[string]string{}
	for {
		page, err := f.services.ListServiceDeployments(ctx, &input)
		if err != nil {
			return "", fmt.Errorf("list the deployments of service %s: %w", f.service.name, err)
		}
		for _, d := range page.ServiceDeployments {
			byRevision[aws.ToString(d.TargetServiceRevisionArn)] = aws.ToString(d.ServiceDeploymentArn)
		}
		if input.NextToken = page.NextToken; input.NextToken == nil {
			break
		}
	}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(byRevision)), revisionBatch) {
		out, err := f.services.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: batch})
		if err != nil {
			return "", fmt.Errorf("read the revisions of service %s: %w", f.service.name, err)
		}
		for _, r := range out.ServiceRevisions {
			if aws.ToString(r.TaskDefinition) == f.taskDefinition {
				return byRevision[aws.ToString(r.ServiceRevisionArn)], nil
			}
		}
	}
	return "", nil
}

func (f *follower) describe(ctx context.Context, arn string) (types.ServiceDeployment, error) {
	out, err := f.services.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{arn}})
	if err != nil {
		return types.ServiceDeployment{}, fmt.Errorf("read the deployment %s: %w", arn, err)
	}
	if len(out.ServiceDeployments) != 1 {
		return types.ServiceDeployment{}, fmt.Errorf("ECS no longer shows the deployment %s", arn)
	}
	return out.ServiceDeployments[0], nil
}

// say prints a line of progress, unless the last one said the same.
func (f *follower) say(line string) {
	if line != f.said {
		fmt.Fprintf(f.out, "  %6s  %s\n", f.Now().Sub(f.start).Round(time.Second), line)
		f.said = line
	}
}

func progress(d types.ServiceDeployment) string {
	if t := d.TargetServiceRevision; t != nil && t.RequestedTaskCount > 0 {
		return fmt.Sprintf("%d of %s running", t.RunningTaskCount, plaintext.Count(int(t.RequestedTaskCount), "new task"))
	}
	return strings.ToLower(strings.ReplaceAll(string(d.Status), "_", " "))
}

func runningTasks(d types.ServiceDeployment) int {
	if d.TargetServiceRevision == nil {
		return 0
	}
	return int(d.TargetServiceRevision.RunningTaskCount)
}

func reason(d types.ServiceDeployment) string {
	var rollback string
	if d.Rollback != nil {
		rollback = aws.ToString(d.Rollback.Reason)
	}
	return cmp.Or(rollback, aws.ToString(d.StatusReason), "ECS gives no reason")
}

// unsure is the error when the deployment goes on, or its end is not known.
func (f *follower) unsure(err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	return fmt.Errorf("environment %s: %w; ECS goes on with the deployment of %s to service %s: see its events in the console, or "+
		"aws ecs describe-services --cluster %s --services %[4]s", f.Name, err, f.image, f.service.name, f.service.cluster)
}

// failed is the error of a deployment that did not complete, with what ECS says of it and of the tasks that it stopped.
func (f *follower) failed(ctx context.Context, d types.ServiceDeployment, what string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "environment %s: the deployment of %s %s\n  %s", f.Name, f.image, what, reason(d))
	tasks, err := f.tasks(ctx, f.service, types.DesiredStatusStopped)
	if err != nil {
		fmt.Fprintf(&b, "\n  %v", err)
	}
	for _, line := range stopReasons(tasks, f.taskDefinition) {
		fmt.Fprintf(&b, "\n  %s", line)
	}
	fmt.Fprintf(&b, "\nThe application's log is in the log group /ecs/%s.", f.FullName())
	return stop("%s", b.String())
}

// stopReasons says why tasks of a revision stopped, each reason once.
func stopReasons(tasks []types.Task, taskDefinition string) []string {
	var lines []string
	for _, task := range tasks {
		if aws.ToString(task.TaskDefinitionArn) != taskDefinition {
			continue
		}
		line := "a task stopped: " + cmp.Or(aws.ToString(task.StoppedReason), "ECS gives no reason")
		for _, c := range task.Containers {
			if c.ExitCode != nil {
				line += fmt.Sprintf("; container %s exited with %d", aws.ToString(c.Name), *c.ExitCode)
			}
			if c.Reason != nil {
				line += "; container " + aws.ToString(c.Name) + ": " + *c.Reason
			}
		}
		if !slices.Contains(lines, line) && len(lines) < maxReasons {
			lines = append(lines, line)
		}
	}
	return lines
}
