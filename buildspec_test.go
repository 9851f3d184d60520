package main_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

const (
	testRepository = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/flask-dev"
	testCommit     = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	testImage      = testRepository + ":sha-" + testCommit
)

type buildspec struct {
	Version string
	Env     struct{ Shell string }
	Phases  map[string]struct {
		OnFailure string `yaml:"on-failure"`
		Commands  []string
	}

	Artifacts struct{ Files []string }
}

func readBuildspec(t *testing.T) buildspec {
	t.Helper()
	text, err := os.ReadFile("buildspec.yml")
	if err != nil {
		t.Fatal(err)
	}
	return parseBuildspec(t, text)
}

func parseBuildspec(t *testing.T, text []byte) buildspec {
	t.Helper()
	var spec buildspec
	if err := yaml.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// shells are the two ways to read what AWS says of buildspec 0.2, that a command sees the state of those before it
// (https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-cmd.html).
var shells = map[string]func(commands []string) string{
	// What CodeBuild's agent does, and https://github.com/aws/codecatalyst-runner-cli
	// (command-runner/pkg/runner/container_command_executor.go) after it: each command is the middle of a script of its own,
	// which takes over exported variables and the directory. The status is that of the command's last line.
	"a script for each command": func(commands []string) string {
		script := `: > "$STATE/env.sh"; echo "$PWD" > "$STATE/dir.txt"` + "\n"
		for _, command := range commands {
			body := "cd \"$(< \"$STATE/dir.txt\")\"\nset -a\n. \"$STATE/env.sh\"\nset +a\n" + command +
				"\nCODEBUILD_LAST_EXIT=$?\nexport -p > \"$STATE/env.sh\"\npwd > \"$STATE/dir.txt\"\nexit $CODEBUILD_LAST_EXIT"
			script += `"$BASH" -c ` + quote(body) + " || exit\n"
		}
		return script
	},
	"one shell for all commands": func(commands []string) string {
		script := ""
		for _, command := range commands {
			script += command + "\nlast=$?; [ $last = 0 ] || exit $last\n"
		}
		return script
	},
}

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// stub records its arguments, answers as the real program does, and then fails if FAIL_AT is how its command line begins.
const stub = `#!/usr/bin/env bash
call="${0##*/} $*"
echo "$call" >> "$CALLS"
case "$call" in
  "aws ecr get-login-password"*) echo secret ;;
  "aws ecr batch-get-image "*) echo "$ECR_ANSWERS" ;;
  "docker login "*) read -r password; [[ "$password" == secret ]] || { echo "stub: no password" >&2; exit 1; } ;;
esac
if [[ -n "$FAIL_AT" && "$call" == "$FAIL_AT"* ]]; then echo "stub: $FAIL_AT fails" >&2; exit 7; fi
`

type build struct {
	exit     int
	calls    []string
	artifact string // empty: not written
	output   string
}

// runBuild runs the commands of a buildspec in an empty folder. Programs other than bash, aws, docker and cut are not found.
func runBuild(t *testing.T, script string, env map[string]string) build {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	bin, source, state := t.TempDir(), t.TempDir(), t.TempDir()
	if cut, err := exec.LookPath("cut"); err == nil {
		if err := os.Symlink(cut, filepath.Join(bin, "cut")); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"aws", "docker"} {
		text := strings.Replace(stub, "/usr/bin/env bash", bash, 1)
		if err := os.WriteFile(filepath.Join(bin, program), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	variables := map[string]string{
		"PATH": bin, "STATE": state, "CALLS": filepath.Join(state, "calls"), "FAIL_AT": "", "ECR_ANSWERS": "ImageNotFound",
		"CODEBUILD_RESOLVED_SOURCE_VERSION": testCommit, "AWS_DEFAULT_REGION": "eu-central-1",
	}
	maps.Copy(variables, buildVariables(t))
	cmd := exec.CommandContext(t.Context(), bash, "-c", script)
	cmd.Dir = source
	cmd.Env = []string{}
	for name, value := range variables {
		if changed, ok := env[name]; ok {
			value = changed
		}
		if value != unset {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	output, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	b := build{exit: cmd.ProcessState.ExitCode(), output: string(output)}
	if calls, err := os.ReadFile(filepath.Join(state, "calls")); err == nil {
		b.calls = strings.Split(strings.TrimSpace(string(calls)), "\n")
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != "imagedefinitions.json" {
			t.Errorf("the build left %s in the source", entry.Name())
			continue
		}
		text, err := os.ReadFile(filepath.Join(source, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.artifact = string(text)
	}
	return b
}

// buildVariables are those that the build project of the golden template sets. A reference is the repository's address.
func buildVariables(t *testing.T) map[string]string {
	t.Helper()
	body, err := os.ReadFile("stacks/testdata/dev/pipeline.template.json")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties struct {
				Environment struct {
					EnvironmentVariables []struct {
						Name  string
						Value any
					}
				}
			}
		}
	}
	if err := json.Unmarshal(body, &template); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	for _, r := range template.Resources {
		if r.Type != "AWS::CodeBuild::Project" {
			continue
		}
		for _, v := range r.Properties.Environment.EnvironmentVariables {
			variables[v.Name] = testRepository
			if text, isText := v.Value.(string); isText {
				variables[v.Name] = text
			}
		}
	}
	return variables
}

// unset is the value of a variable that is not set at all.
const unset = "\x00"

var (
	passwordCall = "aws ecr get-login-password"
	loginCall    = "docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	existsCall   = "aws ecr batch-get-image --repository-name flask-dev --image-ids imageTag=sha-" + testCommit +
		" --accepted-media-types application/vnd.oci.image.index.v1+json application/vnd.oci.image.manifest.v1+json" +
		" application/vnd.docker.distribution.manifest.list.v2+json application/vnd.docker.distribution.manifest.v2+json" +
		" --query failures[0].failureCode --output text"
	buildCall = "docker build --cache-from " + testRepository + ":live --build-arg BUILDKIT_INLINE_CACHE=1 --tag " + testImage + " ."
	pushCall  = "docker push " + testImage
)

func TestBuildspec(t *testing.T) {
	all := []string{passwordCall, loginCall, existsCall, buildCall, pushCall}
	tests := map[string]struct {
		env   map[string]string
		calls []string
		name  string // of the container in the artifact; "" if the build fails
		says  string // part of the output
	}{
		"builds and pushes the image of a new commit": {
			calls: all, name: "app",
		},
		"neither builds nor pushes the image of a commit again": {
			env: map[string]string{"ECR_ANSWERS": "None"}, calls: all[:3], name: "app",
			says: testImage + " is there already",
		},
		"writes a container's name with every character that ECS allows": {
			env: map[string]string{"CONTAINER_NAME": "Az_0-9"}, calls: all, name: "Az_0-9",
		},
		"fails if ECR gives no password": {
			env: map[string]string{"FAIL_AT": passwordCall}, calls: all[:2],
		},
		"fails if the login fails": {
			env: map[string]string{"FAIL_AT": "docker login"}, calls: all[:2],
		},
		"fails if ECR cannot be asked for the image": {
			env: map[string]string{"FAIL_AT": "aws ecr batch-get-image"}, calls: all[:3],
		},
		"fails if ECR answers another failure than that there is no image": {
			env: map[string]string{"ECR_ANSWERS": "KmsError"}, calls: all[:3],
			says: "could not tell whether " + testImage + ` exists: it answered "KmsError"`,
		},
		"fails if ECR answers nothing": {
			env: map[string]string{"ECR_ANSWERS": ""}, calls: all[:3], says: "could not tell whether",
		},
		"fails if the image cannot be built": {
			env: map[string]string{"FAIL_AT": "docker build"}, calls: all[:4],
		},
		"fails if the image cannot be pushed": {
			env: map[string]string{"FAIL_AT": "docker push"}, calls: all,
		},
		"fails without the repository":    {env: map[string]string{"REPOSITORY_URI": unset}, says: "REPOSITORY_URI: the build project sets it"},
		"fails with an empty repository":  {env: map[string]string{"REPOSITORY_URI": ""}, says: "REPOSITORY_URI: the build project sets it"},
		"fails without the container":     {env: map[string]string{"CONTAINER_NAME": unset}, says: "CONTAINER_NAME: the build project sets it"},
		"fails without the commit":        {env: map[string]string{"CODEBUILD_RESOLVED_SOURCE_VERSION": unset}, says: "CodeBuild sets it to the commit"},
		"fails with an empty commit's id": {env: map[string]string{"CODEBUILD_RESOLVED_SOURCE_VERSION": ""}, says: "CodeBuild sets it to the commit"},
	}
	spec := readBuildspec(t)
	if len(spec.Phases) != 1 || len(spec.Phases["build"].Commands) == 0 {
		t.Fatalf("the phases are %v, want build alone: CodeBuild runs post_build after a failed build too", spec.Phases)
	}
	for shell, script := range shells {
		for behaviour, test := range tests {
			t.Run(behaviour+"/"+shell, func(t *testing.T) {
				t.Parallel()
				b := runBuild(t, script(spec.Phases["build"].Commands), test.env)
				// The two ends of a pipe start at the same time.
				if len(b.calls) > 1 && b.calls[0] == loginCall {
					b.calls[0], b.calls[1] = b.calls[1], b.calls[0]
				}
				if diff := cmp.Diff(test.calls, b.calls); diff != "" {
					t.Errorf("calls (-want +got)\n%s", diff)
				}
				if !strings.Contains(b.output, test.says) {
					t.Errorf("the output is\n%s\nwant in it\n%s", b.output, test.says)
				}
				if test.name == "" {
					if b.exit == 0 || b.artifact != "" {
						t.Errorf("exit code %d and artifact %q, want a failure and no artifact", b.exit, b.artifact)
					}
					return
				}
				if b.exit != 0 {
					t.Fatalf("exit code %d\n%s", b.exit, b.output)
				}
				// https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html#pipelines-create-image-definitions
				var got []map[string]string
				if err := json.Unmarshal([]byte(b.artifact), &got); err != nil {
					t.Fatalf("%v in the artifact %s", err, b.artifact)
				}
				if diff := cmp.Diff([]map[string]string{{"name": test.name, "imageUri": testImage}}, got); diff != "" {
					t.Errorf("artifact (-want +got)\n%s", diff)
				}
			})
		}
	}
}

func TestBuildspecSaysWhatCodeBuildReads(t *testing.T) {
	spec := readBuildspec(t)
	if spec.Version != "0.2" || spec.Env.Shell != "bash" {
		t.Errorf("version %s and shell %s, want 0.2 and bash", spec.Version, spec.Env.Shell)
	}
	if got := spec.Phases["build"].OnFailure; got != "ABORT" {
		t.Errorf("after a failed build CodeBuild does %q, want ABORT: the next phases would go on without an image", got)
	}
	if diff := cmp.Diff([]string{"imagedefinitions.json"}, spec.Artifacts.Files); diff != "" {
		t.Errorf("artifacts (-want +got)\n%s", diff)
	}
}

// originalBuildspec has the shape of the file in the application repositories of the Terraform project that this one replaces.
const originalBuildspec = `version: 0.2
phases:
  pre_build:
    commands:
      - echo Logging in to Amazon ECR...
      - aws ecr get-login-password --region $AWS_DEFAULT_REGION | docker login --username AWS --password-stdin $ECR_REPOSITORY_URI
      - export COMMIT_HASH=$(echo $CODEBUILD_RESOLVED_SOURCE_VERSION | cut -c 1-7)
      - export IMAGE_TAG=${COMMIT_HASH:=latest}
  build:
    commands:
      - docker build -f dockerfile -t $ECR_REPOSITORY_URI:latest .
      - docker tag $ECR_REPOSITORY_URI:latest $ECR_REPOSITORY_URI:$IMAGE_TAG
  post_build:
    commands:
      - docker push $ECR_REPOSITORY_URI:latest
      - docker push $ECR_REPOSITORY_URI:$IMAGE_TAG
      - printf '[{"name":"%s","imageUri":"%s"}]' $CONTAINER_NAME $ECR_REPOSITORY_URI:latest > imagedefinitions.json
artifacts:
  files: [imagedefinitions.json]
`

func TestOriginalBuildspecWorksUnchanged(t *testing.T) {
	spec := parseBuildspec(t, []byte(originalBuildspec))
	commands := slices.Concat(spec.Phases["pre_build"].Commands, spec.Phases["build"].Commands, spec.Phases["post_build"].Commands)
	for shell, script := range shells {
		t.Run(shell, func(t *testing.T) {
			b := runBuild(t, script(commands), nil)
			slices.Sort(b.calls)
			if diff := cmp.Diff([]string{
				"aws ecr get-login-password --region eu-central-1",
				"docker build -f dockerfile -t " + testRepository + ":latest .",
				"docker login --username AWS --password-stdin " + testRepository,
				"docker push " + testRepository + ":6dcb09b",
				"docker push " + testRepository + ":latest",
				"docker tag " + testRepository + ":latest " + testRepository + ":6dcb09b",
			}, b.calls); diff != "" {
				t.Errorf("calls (-want +got)\n%s", diff)
			}
			if want := `[{"name":"app","imageUri":"` + testRepository + `:latest"}]`; b.exit != 0 || b.artifact != want {
				t.Errorf("exit code %d, artifact %q, want %q\n%s", b.exit, b.artifact, want, b.output)
			}
		})
	}
}
