package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"flask-on-fargate/internal/registry"
)

func TestPromoteCopiesEveryPlatformAndDeploys(t *testing.T) {
	f := newFakeAWS(t)
	old, image := imageFor(t, "linux", "amd64"), indexOf(t, "linux/amd64", "linux/arm64", "unknown/unknown")
	digest := f.push(t, "dev", image, "live", commitTag)
	f.push(t, "prod", old, "live")
	f.ecs["prod"].runs(repositoryURI("prod")+":live", digestOf(t, old))

	code, stdout, stderr := f.infra("yes\n", "promote", "--from", "dev", "--to", "prod", "--from-profile", "dev-admin", "--to-profile", "prod-admin")
	want := `Image live of environment dev (account 111111111111, region eu-central-1)

Environment prod (account 111111111111, region eu-central-1)
service flask-prod-web

  runs now  ` + digestOf(t, old) + `
            live, on 1 task
  to come   ` + digest + `
            live ` + commitTag + `, for linux/amd64 linux/arm64

Copy it and deploy it? [y/N] 
Copying ` + digest + ` to ` + repositoryURI("prod") + ":" + commitTag + `
      0s  copied

Deploying ` + repositoryURI("prod") + ":" + commitTag + `
      0s  0 of 2 new tasks running
     10s  1 of 2 new tasks running
     20s  completed

Service flask-prod-web runs ` + repositoryURI("prod") + ":" + commitTag + ` on 2 tasks.
The tag live is moved to it by the environment itself, within about a minute.
`
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Errorf("output (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"dev-admin", "prod-admin"}, f.profiles); diff != "" {
		t.Errorf("profiles (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"flask-prod-web " + newRevision("prod")}, f.ecs["prod"].updates); diff != "" {
		t.Errorf("updates (-want +got)\n%s", diff)
	}
	if len(f.ecs["dev"].updates) > 0 || len(f.writes("dev")) > 0 {
		t.Errorf("dev was changed: %q, %q", f.ecs["dev"].updates, f.writes("dev"))
	}

	pulled, err := remote.Index(f.ref(t, "prod", commitTag))
	if err != nil {
		t.Fatal(err)
	}
	if got := digestOf(t, pulled); got != digest {
		t.Errorf("copied %s, want %s", got, digest)
	}
	if err := validate.Index(pulled); err != nil {
		t.Errorf("the copy is not complete: %v", err)
	}
	if live, err := remote.Head(f.ref(t, "prod", "live")); err != nil || live.Digest.String() != digestOf(t, old) {
		t.Errorf("live of prod is %v, %v; want it left to the environment", live, err)
	}
}

func TestPromoteCopiesASingleImage(t *testing.T) {
	f := newFakeAWS(t)
	image := imageFor(t, "linux", "amd64")
	digest := f.push(t, "dev", image, "live")
	if code, _, stderr := f.infra("", "promote", "--from", "dev", "--to", "prod", "--yes"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	pulled, err := remote.Image(f.ref(t, "prod", "sha-256-"+strings.TrimPrefix(digest, "sha256:")))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil || digestOf(t, pulled) != digest {
		t.Errorf("copied %s, want %s; %v", digestOf(t, pulled), digest, err)
	}
	if !slices.Equal(f.profiles, []string{"", ""}) {
		t.Errorf("profiles %q, want the default chain twice", f.profiles)
	}
}

func TestPromoteStopsBeforeItChangesAnything(t *testing.T) {
	placeholder := func(t *testing.T) v1.Image {
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture = "linux", "amd64"
		config.Config.Labels = map[string]string{registry.PlaceholderLabel: "1"}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		return image
	}
	tests := map[string]struct {
		given  func(*testing.T, *fakeAWS)
		answer string
		args   []string
		code   int
		says   string
	}{
		"if the answer is no": {answer: "no\n", code: 1, says: "the answer was not yes: nothing was changed"},
		"if the image is the placeholder": {
			given: func(t *testing.T, f *fakeAWS) { f.push(t, "dev", placeholder(t), "live") },
			code:  1, says: "the image live of dev is the placeholder that this project deploys until the application is released: release the application to dev first",
		},
		"if the target cannot run the image": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["prod"].runsOn(types.CPUArchitectureArm64) },
			code:  1, says: "does not run in prod, whose tasks run on ARM64",
		},
		"if the target has another image of that commit": {
			given: func(t *testing.T, f *fakeAWS) { f.push(t, "prod", imageFor(t, "linux", "amd64"), commitTag) },
			code:  1, says: "the repository of prod has another image as " + commitTag + " already",
		},
		"if the source lacks the image": {
			args: []string{"--image", "sha-0"}, code: 1, says: "environment dev has no image sha-0 in the repository " + repositoryURI("dev"),
		},
		"if the source's account is another": {
			given: func(t *testing.T, f *fakeAWS) { f.configure(t, "dev", "account: \"222222222222\"\n") },
			code:  1, says: "environment dev is in account 222222222222",
		},
		"if the target's account is another": {
			given: func(t *testing.T, f *fakeAWS) { f.configure(t, "prod", "account: \"333333333333\"\n") },
			code:  1, says: "environment prod is in account 333333333333",
		},
		"if the target is scaled to zero": {
			given: func(_ *testing.T, f *fakeAWS) { f.ecs["prod"].service.DesiredCount = 0 }, code: 1, says: "environment prod: service flask-prod-web is scaled to zero",
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeAWS(t)
			f.push(t, "dev", imageFor(t, "linux", "amd64"), "live", commitTag)
			if test.given != nil {
				test.given(t, f)
			}
			args := append([]string{"promote", "--from", "dev", "--to", "prod"}, test.args...)
			if test.answer == "" {
				args = append(args, "--yes")
			}
			code, _, stderr := f.infra(test.answer, args...)
			if code != test.code || !strings.Contains(stderr, test.says) {
				t.Errorf("exit code %d, want %d; stderr is\n%s\nwant in it\n%s", code, test.code, stderr, test.says)
			}
			if f.ecs["prod"].made != nil || len(f.ecs["prod"].updates) > 0 || len(f.writes("prod")) > 0 {
				t.Errorf("something was changed: %q", f.writes("prod"))
			}
		})
	}
}

func TestPromoteOfAnImageThatIsThere(t *testing.T) {
	for name, runs := range map[string]bool{"deploys it without a copy": false, "has nothing to do if it runs": true} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			image := imageFor(t, "linux", "amd64")
			digest := f.push(t, "dev", image, "live", commitTag)
			f.push(t, "prod", image, commitTag)
			if runs {
				f.ecs["prod"].runs(repositoryURI("prod")+":"+commitTag, digest)
			}
			code, stdout, stderr := f.infra("y\n", "promote", "--from", "dev", "--to", "prod")
			if code != 0 || !strings.Contains(stdout, "The repository of prod has it already, as "+commitTag) || strings.Contains(stdout, "Copying") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if writes := f.writes("prod"); len(writes) > 0 {
				t.Errorf("the repository was written to: %q", writes)
			}
			if deployed := len(f.ecs["prod"].updates) > 0; deployed == runs {
				t.Errorf("deployed: %t", deployed)
			}
		})
	}
}

// configsOf returns the digests of the configurations of an index's images.
func configsOf(t *testing.T, index v1.ImageIndex) []string {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, child := range manifest.Manifests {
		image, err := index.Image(child.Digest)
		if err != nil {
			t.Fatal(err)
		}
		name, err := image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, name.String())
	}
	return digests
}

func TestACopyThatFails(t *testing.T) {
	disconnect := func(w http.ResponseWriter, after string) bool {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(connection, after)
			connection.Close()
		}
		return err == nil
	}
	refuse := func(w http.ResponseWriter, status int, code, message string) bool {
		w.WriteHeader(status)
		io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"`+message+`"}]}`)
		return true
	}
	image := indexOf(t, "linux/amd64", "linux/arm64")
	configs := map[string]bool{} // paths of what is read before the copy
	for _, c := range configsOf(t, image) {
		configs["/v2/flask-dev/blobs/"+c] = true
	}
	const immutable = "The image tag already exists in the repository and cannot be overwritten because the tag is immutable."
	tests := map[string]struct {
		on     func(*http.Request) bool
		fault  func(http.ResponseWriter, *http.Request) bool
		passes bool // when it was tried again
		says   string
	}{
		"an interrupted upload is tried again": {
			on: func(r *http.Request) bool {
				return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/flask-prod/")
			},
			fault: func(w http.ResponseWriter, r *http.Request) bool {
				io.CopyN(io.Discard, r.Body, 10)
				return disconnect(w, "")
			},
			passes: true,
		},
		"an interrupted download is tried again": {
			on: func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/flask-dev/blobs/") && !configs[r.URL.Path]
			},
			fault: func(w http.ResponseWriter, _ *http.Request) bool {
				return disconnect(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbeginning\r\n")
			},
			passes: true,
		},
		"a throttled manifest is tried again": {
			on: func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
			},
			fault: func(w http.ResponseWriter, _ *http.Request) bool {
				return refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded")
			},
			passes: true,
		},
		"a denied upload is final": {
			on: func(r *http.Request) bool { return r.Method == http.MethodPost },
			fault: func(w http.ResponseWriter, _ *http.Request) bool {
				return refuse(w, http.StatusForbidden, "DENIED", "not authorized to perform: ecr:InitiateLayerUpload")
			},
			says: "not authorized to perform: ecr:InitiateLayerUpload; nothing was deployed",
		},
		"a tag that another push took is final": {
			on: func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/flask-prod/manifests/"+commitTag)
			},
			fault: func(w http.ResponseWriter, _ *http.Request) bool {
				return refuse(w, http.StatusBadRequest, "TAG_INVALID", immutable)
			},
			says: immutable,
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeAWS(t)
			digest := f.push(t, "dev", image, "live", commitTag)
			seen := 0
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !test.on(r) || (test.passes && seen == 2) {
					return false
				}
				seen++
				return test.fault(w, r)
			}
			code, _, stderr := f.infra("", "promote", "--from", "dev", "--to", "prod", "--yes")
			f.mu.Lock()
			f.fault = nil
			happened := seen > 0
			f.mu.Unlock()
			if !happened {
				t.Fatal("the fault never happened")
			}
			if !test.passes {
				if code != 1 || !strings.Contains(stderr, test.says) || len(f.ecs["prod"].updates) > 0 {
					t.Errorf("exit code %d, updates %q, stderr\n%s\nwant in it\n%s", code, f.ecs["prod"].updates, stderr, test.says)
				}
				return
			}
			if code != 0 || len(f.ecs["prod"].updates) != 1 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			pulled, err := remote.Index(f.ref(t, "prod", commitTag))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(pulled); err != nil || digestOf(t, pulled) != digest {
				t.Errorf("the copy is %s, want %s; %v", digestOf(t, pulled), digest, err)
			}
		})
	}
}

func TestACopyIsReadBackBeforeItIsDeployed(t *testing.T) {
	f := newFakeAWS(t)
	f.push(t, "dev", indexOf(t, "linux/amd64", "linux/arm64"), "live", commitTag)
	other := indexOf(t, "linux/amd64")
	f.push(t, "prod", other, "other")
	manifest, err := other.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	copied := false
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/flask-prod/manifests/"+commitTag) {
			return false
		}
		if r.Method == http.MethodPut {
			copied = true
		}
		if r.Method != http.MethodGet || !copied {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Write(manifest)
		return true
	}
	code, _, stderr := f.infra("", "promote", "--from", "dev", "--to", "prod", "--yes")
	if want := "another image was pushed meanwhile; nothing was deployed"; code != 1 || !strings.Contains(stderr, want) || len(f.ecs["prod"].updates) > 0 {
		t.Errorf("exit code %d, updates %q, stderr\n%s\nwant in it\n%s", code, f.ecs["prod"].updates, stderr, want)
	}
}
