package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestReleaseDeploysAnImageOfTheRepository(t *testing.T) {
	f := newFakeAWS(t)
	old, image := imageFor(t, "linux", "amd64"), indexOf(t, "linux/amd64", "unknown/unknown")
	f.push(t, "dev", old, "live", "sha-1111111")
	digest := f.push(t, "dev", image, commitTag)
	f.ecs["dev"].runs(repositoryURI("dev")+":live", digestOf(t, old))
	f.ecs["dev"].runs(repositoryURI("dev")+":live", digestOf(t, old))
	f.ecs["dev"].late = 1

	code, stdout, stderr := f.infra("y\n", "release", "--env", "dev", commitTag)
	want := `Environment dev (account 111111111111, region eu-central-1)
service flask-dev-web

  runs now  ` + digestOf(t, old) + `
            live sha-1111111, on 2 tasks
  to come   ` + digest + `
            ` + commitTag + `, for linux/amd64

Deploy it? [y/N] 
Deploying ` + repositoryURI("dev") + ":" + commitTag + `
      0s  waiting for ECS to begin
      5s  0 of 2 new tasks running
     15s  1 of 2 new tasks running
     25s  completed

Service flask-dev-web runs ` + repositoryURI("dev") + ":" + commitTag + ` on 2 tasks.
The tag live is moved to it by the environment itself, within about a minute.
`
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Errorf("output (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"flask-dev-web " + newRevision("dev")}, f.ecs["dev"].updates); diff != "" {
		t.Errorf("updates (-want +got)\n%s", diff)
	}
	if writes := f.writes("dev"); len(writes) > 0 {
		t.Errorf("the repository was changed: %q", writes)
	}
}

func TestReleaseNamesAnImageSoThatItCannotMove(t *testing.T) {
	for name, reference := range map[string]string{"by the tag of a commit": commitTag, "a movable tag by digest": "live", "a digest": ""} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			digest := f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag, "live")
			want := repositoryURI("dev") + "@" + digest
			if reference == commitTag {
				want = repositoryURI("dev") + ":" + commitTag
			}
			if reference == "" {
				reference = digest
			}
			if code, _, stderr := f.infra("", "release", "--env", "dev", "--yes", reference); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if got := aws.ToString(f.ecs["dev"].made.ContainerDefinitions[1].Image); got != want {
				t.Errorf("deployed %s, want %s", got, want)
			}
		})
	}
}

func TestADeploymentThatDoesNotComplete(t *testing.T) {
	rollingBack := deployment(types.ServiceDeploymentStatusRollbackInProgress, 0)
	rollingBack.Rollback = &types.Rollback{Reason: aws.String("Service deployment rolled back because the circuit breaker threshold was exceeded.")}
	rolledBack := rollingBack
	rolledBack.Status = types.ServiceDeploymentStatusRollbackSuccessful
	stuck := rollingBack
	stuck.Status = types.ServiceDeploymentStatusRollbackFailed
	stopped := deployment(types.ServiceDeploymentStatusStopped, 1)
	stopped.StatusReason = aws.String("Stopped by a newer deployment.")
	running := deployment(types.ServiceDeploymentStatusInProgress, 1)

	crashed := types.Task{
		TaskDefinitionArn: aws.String(newRevision("dev")), StoppedReason: aws.String("Essential container in task exited"),
		Containers: []types.Container{{Name: aws.String("app"), ExitCode: aws.Int32(3)}},
	}
	unpulled := types.Task{
		TaskDefinitionArn: aws.String(newRevision("dev")), StoppedReason: aws.String("Task failed to start"),
		Containers: []types.Container{{Name: aws.String("app"), Reason: aws.String("CannotPullContainerError: timeout")}},
	}
	replaced := types.Task{TaskDefinitionArn: aws.String(oldRevision("dev")), StoppedReason: aws.String("Scaling activity")}

	tests := map[string]struct {
		progress []types.ServiceDeployment
		late     int
		fail     map[string]error
		code     int
		says     []string // on stderr
		out      string   // part of stdout
	}{
		"rolled back: says why, and what stopped": {
			progress: []types.ServiceDeployment{running, rollingBack, rollingBack, rolledBack}, code: 1,
			says: []string{
				"was rolled back: the service runs what it ran before\n  Service deployment rolled back because the circuit breaker threshold was exceeded.\n",
				"\n  a task stopped: Essential container in task exited; container app exited with 3\n",
				"\n  a task stopped: Task failed to start; container app: CannotPullContainerError: timeout\n",
				"log group /ecs/flask-dev",
			},
			out: "   5s  rolling back: Service deployment",
		},
		"rolled back, and the tasks cannot be read": {
			progress: []types.ServiceDeployment{rolledBack}, fail: map[string]error{"ListTasks": errors.New("throttled")}, code: 1,
			says: []string{"was rolled back", "throttled"},
		},
		"neither completed nor rolled back": {
			progress: []types.ServiceDeployment{stuck}, code: 1, says: []string{"failed, and so did the rollback"},
		},
		"stopped": {
			progress: []types.ServiceDeployment{running, stopped}, code: 1,
			says: []string{"was stopped, by somebody or by a newer deployment\n  Stopped by a newer deployment."},
		},
		"never begun": {
			late: -1, code: 2, says: []string{"ECS shows no deployment of " + newRevision("dev") + " after 2m0s", "ECS goes on", "--services flask-dev-web"},
		},
		"never ended": {
			progress: []types.ServiceDeployment{running}, code: 2, says: []string{"has not ended after 1h0m0s", "ECS goes on with the deployment"},
		},
		"no longer readable": {
			fail: map[string]error{"DescribeServiceDeployments": errors.New("no route to host")}, code: 2, says: []string{"no route to host", "ECS goes on with the deployment"},
		},
		"not listed": {
			fail: map[string]error{"ListServiceDeployments": errors.New("AccessDenied")}, code: 2, says: []string{"list the deployments of service flask-dev-web: AccessDenied"},
		},
		"not accepted": {
			fail: map[string]error{"UpdateService": errors.New("AccessDenied")}, code: 1, says: []string{"make service flask-dev-web use " + newRevision("dev") + ": AccessDenied"},
		},
		"not registered": {
			fail: map[string]error{"RegisterTaskDefinition": errors.New("AccessDenied")}, code: 1, says: []string{"AccessDenied; nothing was deployed"},
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeAWS(t)
			f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag)
			service := f.ecs["dev"]
			service.stopped = []types.Task{replaced, crashed, crashed, unpulled}
			service.late = test.late
			if test.progress != nil {
				service.progress = test.progress
			}
			if err := test.fail["ListTasks"]; err != nil { // only once the deployment is under way
				service.hook = func(operation string) {
					if operation == "UpdateService" {
						service.fail = test.fail
					}
				}
			} else if test.fail != nil {
				service.fail = test.fail
			}
			code, stdout, stderr := f.infra("", "release", "--env", "dev", "--yes", commitTag)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr is\n%s\nwant in it\n%s", stderr, want)
				}
			}
			if !strings.Contains(stdout, test.out) {
				t.Errorf("stdout is\n%s\nwant in it\n%s", stdout, test.out)
			}
			if strings.Contains(stdout, "runs "+repositoryURI("dev")) || strings.Contains(stderr, "Scaling activity") || strings.Count(stderr, "exited with 3") > 1 {
				t.Errorf("claims success, names an old task, or repeats itself:\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestReleaseStopsBeforeItChangesAnything(t *testing.T) {
	tests := map[string]struct {
		given  func(*testing.T, *fakeAWS)
		answer string   // "" for nobody, with --yes
		args   []string // default: --env dev and the commit
		code   int
		says   string
	}{
		"if the answer is no":    {answer: "n\n", code: 1, says: "the answer was not yes: nothing was changed"},
		"if there is no answer":  {answer: "\n", code: 1, says: "the answer was not yes"},
		"if the input just ends": {answer: " ", code: 1, says: "the answer was not yes"},
		"if the answer only begins with yes": {
			answer: "yes but later\n", code: 1, says: "the answer was not yes",
		},
		"if the credentials are of another account": {
			given: func(t *testing.T, f *fakeAWS) { f.configure(t, "dev", "account: \"222222222222\"\n") },
			code:  1, says: "environment dev is in account 222222222222 by config/dev.yaml, but the credentials are those of arn:aws:iam::111111111111:user/ada in account 111111111111",
		},
		"if the environment has no file": {
			args: []string{"release", "--yes", "--env", "stage", commitTag}, code: 2, says: "stage",
		},
		"if the environment is not deployed": {
			given: func(_ *testing.T, f *fakeAWS) { delete(f.outputs, "flask-dev-data") },
			code:  2, says: "stack flask-dev-data does not exist in account 111111111111 and region eu-central-1; run npx cdk deploy --all -c env=dev first",
		},
		"if a stack lacks an output": {
			given: func(_ *testing.T, f *fakeAWS) { delete(f.outputs["flask-dev-service"], "ServiceName") },
			code:  2, says: "stack flask-dev-service has no output ServiceName; run npx cdk deploy",
		},
		"if the service is gone": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["dev"].service.Status = aws.String("INACTIVE") },
			code:  2, says: "there is no active service flask-dev-web in cluster flask-dev-cluster",
		},
		"if the service is scaled to zero": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["dev"].service.DesiredCount = 0 },
			code:  1, says: "is scaled to zero, so that nothing would run the image; start it first: aws ecs update-service --cluster flask-dev-cluster --service flask-dev-web --desired-count 1",
		},
		"if the service has no load balancer": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["dev"].service.LoadBalancers = nil }, code: 2, says: "has 0 load balancers",
		},
		"if the task definition lacks the container": {
			given: func(_ *testing.T, f *fakeAWS) {
				f.ecs["dev"].service.LoadBalancers[0].ContainerName = aws.String("web")
			},
			code: 2, says: `has no container "web"`,
		},
		"if the repository lacks the tag": {
			args: []string{"release", "--yes", "--env", "dev", "sha-0"}, code: 1, says: "environment dev has no image sha-0 in the repository " + repositoryURI("dev"),
		},
		"if the repository lacks the digest": {
			args: []string{"release", "--yes", "--env", "dev", "sha256:" + strings.Repeat("0", 64)}, code: 1, says: "has no image sha256:000",
		},
		"if the tasks cannot run the image": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["dev"].runsOn(types.CPUArchitectureArm64) },
			code:  1, says: "does not run in dev, whose tasks run on ARM64 by the task definition in use, " + oldRevision("dev") + ": it is for [linux/amd64], not for linux/arm64.",
		},
		"if the service was deployed during the question": {
			given: func(_ *testing.T, f *fakeAWS) {
				reads := 0
				f.ecs["dev"].hook = func(operation string) {
					if operation == "DescribeServices" {
						if reads++; reads == 2 {
							f.ecs["dev"].service.TaskDefinition = aws.String(oldRevision("dev") + "0")
							f.ecs["dev"].current.TaskDefinition.TaskDefinitionArn = f.ecs["dev"].service.TaskDefinition
						}
					}
				}
			},
			code: 1, says: "was deployed meanwhile",
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeAWS(t)
			f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag)
			if test.given != nil {
				test.given(t, f)
			}
			args := test.args
			if args == nil {
				args = []string{"release", "--env", "dev", commitTag}
			}
			if test.answer == "" && test.args == nil {
				args = append(args, "--yes")
			}
			code, _, stderr := f.infra(test.answer, args...)
			if code != test.code || !strings.Contains(stderr, test.says) {
				t.Errorf("exit code %d, want %d; stderr is\n%s\nwant in it\n%s", code, test.code, stderr, test.says)
			}
			if f.ecs["dev"].made != nil || len(f.ecs["dev"].updates) > 0 {
				t.Error("something was changed")
			}
		})
	}
}

// TestTheRunningTasksDecideWhichArchitectureFits, not the file, which may say what is deployed later.
func TestTheRunningTasksDecideWhichArchitectureFits(t *testing.T) {
	const x86, arm = types.CPUArchitectureX8664, types.CPUArchitectureArm64
	for name, test := range map[string]struct {
		file  types.CPUArchitecture
		runs  types.CPUArchitecture // "" if the task definition does not say
		image []string
		stops string
	}{
		"the file says ARM64, and the image is still for x86": {file: arm, runs: x86, image: []string{"linux/amd64"}},
		"the file says ARM64, and the image is for both":      {file: arm, runs: x86, image: []string{"linux/amd64", "linux/arm64"}},
		"the file says ARM64, and the image is for ARM alone": {file: arm, runs: x86, image: []string{"linux/arm64"}, stops: "on X86_64"},
		"the file says x86, and the image is for x86 alone":   {file: x86, runs: arm, image: []string{"linux/amd64"}, stops: "on ARM64"},
		"a task definition without a platform runs on x86":    {file: x86, image: []string{"linux/arm64"}, stops: "on X86_64"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			for _, env := range []string{"dev", "prod"} {
				f.configure(t, env, "architecture: "+string(test.file)+"\n")
				if test.runs != "" {
					f.ecs[env].runsOn(test.runs)
				}
			}
			f.push(t, "dev", indexOf(t, test.image...), commitTag)
			for _, command := range [][]string{{"release", "--env", "dev", commitTag}, {"promote", "--from", "dev", "--to", "prod", "--image", commitTag}} {
				code, _, stderr := f.infra("", append(command, "--yes")...)
				if test.stops == "" {
					if code != 0 {
						t.Errorf("%s: exit code %d: %s", command[0], code, stderr)
					}
					continue
				}
				for _, part := range []string{test.stops, "To change the architecture", "docker buildx build --platform linux/amd64,linux/arm64", "infra release", "change architecture", "deploy"} {
					if code != 1 || !strings.Contains(stderr, part) {
						t.Errorf("%s: exit code %d, want 1; no %q in %s", command[0], code, part, stderr)
					}
				}
			}
		})
	}
}

// TestReleaseReadsListsToTheirEnd has more of everything than one answer of ECS holds, and more than one question may name.
func TestReleaseReadsListsToTheirEnd(t *testing.T) {
	f := newFakeAWS(t)
	f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag)
	service := f.ecs["dev"]
	for range 101 {
		service.runs("old", "sha256:"+strings.Repeat("0", 64))
		service.stopped = append(service.stopped, types.Task{TaskDefinitionArn: aws.String(oldRevision("dev")), StoppedReason: aws.String("Scaling activity")})
	}
	service.stopped = append(service.stopped, types.Task{TaskDefinitionArn: aws.String(newRevision("dev")), StoppedReason: aws.String("the last one's reason")})
	service.before = 21
	service.progress = []types.ServiceDeployment{deployment(types.ServiceDeploymentStatusRollbackSuccessful, 0)}
	code, stdout, stderr := f.infra("", "release", "--env", "dev", "--yes", commitTag)
	if code != 1 || !strings.Contains(stdout, "on 101 tasks") || !strings.Contains(stderr, "a task stopped: the last one's reason") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestReleaseLooksOnceMoreAtItsTimeOuts has a deployment that appears, and one that ends, right then.
func TestReleaseLooksOnceMoreAtItsTimeOuts(t *testing.T) {
	for name, given := range map[string]func(*fakeECS){
		"until it appears": func(f *fakeECS) { f.late = 24 }, // every 5 s, for 2 min
		"until it ends": func(f *fakeECS) {
			running := deployment(types.ServiceDeploymentStatusInProgress, 1)
			f.progress = append(slices.Repeat([]types.ServiceDeployment{running}, 720), deployment(types.ServiceDeploymentStatusSuccessful, 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag)
			given(f.ecs["dev"])
			if code, stdout, stderr := f.infra("", "release", "--env", "dev", "--yes", commitTag); code != 0 {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestReleaseOfWhatRunsAlready(t *testing.T) {
	tests := map[string]struct {
		given   func(f *fakeECS, image v1.Image)
		deploys bool
	}{
		"has nothing to do": {given: func(*fakeECS, v1.Image) {}},
		"deploys if a deployment is in progress": {func(f *fakeECS, _ v1.Image) {
			f.service.Deployments[0].RolloutState = types.DeploymentRolloutStateInProgress
		}, true},
		"deploys if another image runs too": {func(f *fakeECS, _ v1.Image) { f.runs("other", "sha256:"+strings.Repeat("0", 64)) }, true},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeAWS(t)
			image := imageFor(t, "linux", "amd64")
			digest := f.push(t, "dev", image, commitTag)
			f.ecs["dev"].runs(repositoryURI("dev")+":"+commitTag, digest)
			test.given(f.ecs["dev"], image)
			code, stdout, stderr := f.infra("", "release", "--env", "dev", "--yes", commitTag)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if deployed := len(f.ecs["dev"].updates) > 0; deployed != test.deploys || strings.Contains(stdout, "nothing to do") == test.deploys {
				t.Errorf("deployed: %t, want %t; output\n%s", deployed, test.deploys, stdout)
			}
			if test.deploys && f.ecs["dev"].service.Deployments[0].RolloutState == types.DeploymentRolloutStateInProgress &&
				!strings.Contains(stdout, "A deployment is in progress. The new one would take its place.") {
				t.Errorf("the deployment in progress is not named:\n%s", stdout)
			}
		})
	}
}

// ECS names the digest of the platform that a task runs. A person knows the image by the tags of its index.
func TestARunningPlatformIsShownByTheTagsOfItsIndex(t *testing.T) {
	for name, test := range map[string]struct{ image, want string }{
		"that the task names":   {repositoryURI("dev") + ":sha-1111111", "latest sha-1111111, on 1 task"},
		"that live names":       {repositoryURI("dev") + "@sha256:" + strings.Repeat("1", 64), "live sha-2222222, on 1 task"},
		"that nothing leads to": {repositoryURI("dev") + ":gone", "no tag, on 1 task"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			first, live, other := indexOf(t, "linux/amd64"), indexOf(t, "linux/amd64"), indexOf(t, "linux/amd64")
			f.push(t, "dev", first, "sha-1111111", "latest")
			f.push(t, "dev", live, "sha-2222222", "live")
			f.push(t, "dev", other, "sha-3333333")
			f.push(t, "dev", imageFor(t, "linux", "amd64"), commitTag)
			runs := map[string]v1.ImageIndex{"that the task names": first, "that live names": live, "that nothing leads to": other}[name]
			manifest, err := runs.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			f.ecs["dev"].runs(test.image, manifest.Manifests[0].Digest.String())
			_, stdout, stderr := f.infra("n", "release", "--env", "dev", commitTag)
			if !strings.Contains(stdout, "runs now  "+manifest.Manifests[0].Digest.String()+"\n            "+test.want+"\n") {
				t.Errorf("want %s in\n%s%s", test.want, stdout, stderr)
			}
		})
	}
}

func TestReleaseAndPromoteUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no image":                   {[]string{"release", "--env", "dev"}, "0 images given, []: name one tag or digest of the repository"},
		"two images":                 {[]string{"release", "--env", "dev", "a", "b"}, `2 images given, ["a" "b"]`},
		"no environment":             {[]string{"release", "--yes", commitTag}, "--env is missing"},
		"an image with its registry": {[]string{"release", "--env", "dev", repositoryURI("dev") + ":live"}, "is no tag and no digest: want a tag alone"},
		"half a digest":              {[]string{"release", "--env", "dev", "sha256:12"}, `"sha256:12" is no tag and no digest`},
		"nobody to ask":              {[]string{"release", "--env", "dev", commitTag}, "standard input is no terminal, so that nobody can be asked; give --yes"},
		"nobody to ask, promoting":   {[]string{"promote", "--from", "dev", "--to", "prod"}, "give --yes"},
		"an argument":                {[]string{"promote", "--from", "dev", "--to", "prod", "live"}, `["live"] given, but the command takes flags only: name an image by --image`},
		"no source":                  {[]string{"promote", "--to", "prod"}, `--from is "" and --to is "prod": name two environments`},
		"no target":                  {[]string{"promote", "--from", "dev"}, `--from is "dev" and --to is ""`},
		"one environment":            {[]string{"promote", "--from", "dev", "--to", "dev"}, "--from and --to are both dev; infra release deploys"},
		"a wrong image to promote":   {[]string{"promote", "--from", "dev", "--to", "prod", "--image", "a:b"}, `"a:b" is no tag and no digest`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			code, _, stderr := f.infra("", test.args...)
			if code != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, want 2; stderr is\n%s\nwant in it\n%s", code, stderr, test.want)
			}
			if len(f.profiles) > 0 {
				t.Error("AWS was asked")
			}
		})
	}
}

func TestReleaseAndPromoteHelp(t *testing.T) {
	for _, command := range []string{"release", "promote"} {
		code, stdout, stderr := newFakeAWS(t).infra("", command, "--help")
		if code != 0 || !strings.Contains(stdout, "Usage:") {
			t.Errorf("exit code %d; %s%s", code, stdout, stderr)
		}
		for line := range strings.Lines(stdout) {
			if len(line) > 100 {
				t.Errorf("line of %d columns: %s", len(line), line)
			}
		}
	}
}

// The tool as a process, with the AWS SDK's own clients and credentials.
func TestReleaseAsAProcess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") == "GetCallerIdentity" && strings.Contains(r.Header.Get("Authorization"), "Credential=KEYOFDEV/") {
			io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111111111111</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack with id x does not exist</Message></Error></ErrorResponse>`)
	}))
	defer server.Close()
	newFakeAWS(t).configure(t, "dev", "account: \"111111111111\"\n")
	if err := os.WriteFile("credentials", []byte("[default]\naws_access_key_id=KEYOFNOBODY\naws_secret_access_key=x\n[dev]\naws_access_key_id=KEYOFDEV\naws_secret_access_key=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"AWS_ENDPOINT_URL=" + server.URL, "AWS_SHARED_CREDENTIALS_FILE=credentials", "AWS_CONFIG_FILE=none", "AWS_EC2_METADATA_DISABLED=true"}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"takes the profile, and finds no stack": {[]string{"--yes", "--profile", "dev"}, "stack flask-dev-data does not exist in account 111111111111"},
		"takes the default credentials":         {[]string{"--yes"}, "ask AWS whose credentials these are"},
		"asks nobody":                           {nil, "standard input is no terminal"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := infra(t, "", env, append([]string{"release", "--env", "dev", commitTag}, test.args...)...)
			output, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), test.want) {
				t.Errorf("%v: %s\nwant in it\n%s", err, output, test.want)
			}
		})
	}
}
