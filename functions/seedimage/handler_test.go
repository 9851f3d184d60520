package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"flask-on-fargate/internal/imagetag"
)

const (
	repositoryUnderTest = "flask-dev/app"
	token               = "QVdTOnBhc3N3b3Jk" // AWS:password
)

var fastBackoff = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 4}

// fakeECR is a real registry that asks for credentials, and the ECR API that hands them out, at one address.
type fakeECR struct {
	*httptest.Server
	registry http.Handler

	// fault may answer a request in the registry's or the API's place; then it returns true.
	fault func(http.ResponseWriter, *http.Request) bool

	mu       sync.Mutex
	requests []string
}

func newFakeECR(t testing.TB) *fakeECR {
	f := &fakeECR{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeECR) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	faulty := f.fault != nil && f.fault(w, r)
	f.mu.Unlock()
	switch {
	case faulty:
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken"):
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"proxyEndpoint":%q}]}`, token, f.URL)
	case r.Header.Get("Authorization") != "Basic "+token:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+f.URL+`/",service="ecr.amazonaws.com"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		f.registry.ServeHTTP(w, r)
	}
}

// count tells how often a request, method and path, was made.
func (f *fakeECR) count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r == request {
			n++
		}
	}
	return n
}

// wrote tells whether a manifest was written to a tag.
func (f *fakeECR) wrote(tag string) bool {
	return f.count("PUT /v2/"+repositoryUnderTest+"/manifests/"+tag) > 0
}

func (f *fakeECR) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
}

func (f *fakeECR) tag(t *testing.T, tag string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(strings.TrimPrefix(f.URL, "http://") + "/" + repositoryUnderTest + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

type basic struct{ http.RoundTripper }

func (b basic) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Basic "+token)
	return b.RoundTripper.RoundTrip(r)
}

var asTester = remote.WithTransport(basic{http.DefaultTransport})

// put makes live name an image, as a release does.
func (f *fakeECR) put(t *testing.T, image remote.Taggable) string {
	t.Helper()
	if err := remote.Push(f.tag(t, imagetag.Live), image, asTester); err != nil {
		t.Fatal(err)
	}
	f.reset()
	return f.digest(t, imagetag.Live)
}

func (f *fakeECR) digest(t *testing.T, tag string) string {
	t.Helper()
	d, err := remote.Get(f.tag(t, tag), asTester)
	if err != nil {
		t.Fatalf("read %s: %v", tag, err)
	}
	return d.Digest.String()
}

// handler is one whose program has the given content.
func (f *fakeECR) handler(t testing.TB, program string) *handler {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range architectures {
		if err := os.WriteFile(filepath.Join(dir, "seed-"+arch), []byte(program+" for "+arch), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &handler{
		ecr: ecr.New(ecr.Options{
			BaseEndpoint: &f.URL, Region: "eu-central-1", Retryer: newRetryer(fastBackoff),
			Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		}),
		programDir: dir,
		backoff:    fastBackoff,
		log:        slog.New(slog.DiscardHandler),
	}
}

func createEvent(changes ...string) cfn.Event {
	properties := map[string]any{
		"ServiceToken": "arn:aws:lambda:eu-central-1:111111111111:function:seed", "ServiceTimeout": "300",
		"RepositoryName": repositoryUnderTest, "ContainerPort": "5000", "Architecture": "ARM64", "ProgramVersion": "abc",
	}
	for i := 0; i < len(changes); i += 2 {
		properties[changes[i]] = changes[i+1]
	}
	return cfn.Event{RequestType: cfn.RequestCreate, RequestID: "request", ResourceProperties: properties}
}

func updateEvent(changes ...string) cfn.Event {
	event := createEvent(changes...)
	event.RequestType, event.PhysicalResourceID = cfn.RequestUpdate, "seed-image/"+repositoryUnderTest
	return event
}

// platformImage is an application's image for one platform.
func platformImage(t *testing.T, os, arch string) v1.Image {
	t.Helper()
	image, err := random.Image(64, 2)
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

func indexOf(images ...mutate.IndexAddendum) v1.ImageIndex {
	return mutate.AppendManifests(empty.Index, images...)
}

func stated(image v1.Image, os, arch string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}}
}

func TestAnEmptyRepositoryGetsSeedAndLive(t *testing.T) {
	f := newFakeECR(t)
	id, data, err := f.handler(t, "v1").handle(t.Context(), createEvent("ContainerPort", "8080"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "seed-image/" + repositoryUnderTest; id != want {
		t.Errorf("physical id %q, want %q", id, want)
	}
	if n := f.count("GET /v2/"); n > 2 {
		t.Errorf("asked %d times how to authenticate; to retry that would cost half a minute on every deploy", n)
	}
	seed, live := f.digest(t, imagetag.Seed), f.digest(t, imagetag.Live)
	if seed != live || data["SeedDigest"] != seed || data["LiveDigest"] != live {
		t.Errorf("seed %s, live %s, data %v: want the same four times", seed, live, data)
	}

	index, err := remote.Index(f.tag(t, imagetag.Live), asTester)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("what was pushed is not a valid image: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIImageIndex || len(manifest.Manifests) != 2 {
		t.Fatalf("live is a %s of %d images, want an OCI index of 2", manifest.MediaType, len(manifest.Manifests))
	}
	for i, want := range []string{"linux/amd64", "linux/arm64"} {
		if got := manifest.Manifests[i].Platform.String(); got != want {
			t.Errorf("image %d is for %s, want %s", i, got, want)
		}
		image, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(config.Config)
		version := fmt.Sprintf("%x", sha256.Sum256([]byte("v1 for amd64v1 for arm64")))
		wantConfig := `{"Cmd":["serve"],"Entrypoint":["/seed"],"Env":["PORT=8080"],` +
			`"Labels":{"flask-on-fargate.seed.version":"` + version + `"},` +
			`"ExposedPorts":{"8080/tcp":{}}}`
		if string(got) != wantConfig || config.Platform().String() != want {
			t.Errorf("configuration for %s:\n%s\nwant\n%s", config.Platform(), got, wantConfig)
		}
	}
}

func TestLive(t *testing.T) {
	placeholder := func(t *testing.T, f *fakeECR) remote.Taggable {
		index, err := newPlaceholder(f.handler(t, "v1").programDir, 5000)
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	onePlatform := func(t *testing.T, f *fakeECR) v1.Image {
		index := placeholder(t, f).(v1.ImageIndex)
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		image, err := index.Image(manifest.Manifests[1].Digest)
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	const (
		same        = "the placeholder at this version and port"
		other       = "the placeholder had another version or port"
		application = "an application's image"
	)
	tests := map[string]struct {
		live    func(*testing.T, *fakeECR) remote.Taggable
		program string
		port    string
		renewed bool
		why     string
	}{
		"is kept if it is the placeholder at this version and port": {
			live: placeholder, why: same,
		},
		"is renewed if it is the placeholder of another port": {
			live: placeholder, port: "80", renewed: true, why: other,
		},
		"is renewed if it is the placeholder of another version": {
			live: placeholder, program: "v2", renewed: true, why: other,
		},
		"is renewed if it is one platform of the placeholder": {
			live: func(t *testing.T, f *fakeECR) remote.Taggable { return onePlatform(t, f) }, renewed: true, why: other,
		},
		"is kept if it is an application of several platforms": {
			live: func(t *testing.T, _ *fakeECR) remote.Taggable {
				return indexOf(stated(platformImage(t, "linux", "amd64"), "linux", "amd64"), stated(platformImage(t, "linux", "arm64"), "linux", "arm64"))
			}, program: "v2", port: "80", why: application,
		},
		"is kept if it is an application of one platform": {
			live: func(t *testing.T, _ *fakeECR) remote.Taggable { return platformImage(t, "linux", "arm64") }, program: "v2", port: "80", why: application,
		},
		"is kept if it is an application built from the placeholder": {
			live: func(t *testing.T, f *fakeECR) remote.Taggable {
				layers, err := platformImage(t, "linux", "arm64").Layers()
				if err != nil {
					t.Fatal(err)
				}
				image, err := mutate.AppendLayers(onePlatform(t, f), layers...)
				if err != nil {
					t.Fatal(err)
				}
				return image
			}, port: "80", why: application,
		},
		"is kept if its index states no platform": {
			live: func(t *testing.T, _ *fakeECR) remote.Taggable {
				return indexOf(mutate.IndexAddendum{Add: platformImage(t, "linux", "arm64"), Descriptor: v1.Descriptor{Platform: nil}})
			}, program: "v2", why: application,
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeECR(t)
			before := f.put(t, test.live(t, f))
			h := f.handler(t, or(test.program, "v1"))
			var out bytes.Buffer
			h.log = slog.New(slog.NewJSONHandler(&out, nil))
			_, data, err := h.handle(t.Context(), updateEvent("ContainerPort", or(test.port, "5000")))
			if err != nil {
				t.Fatal(err)
			}
			seed, after := f.digest(t, imagetag.Seed), f.digest(t, imagetag.Live)
			if want := or(test.port, "5000"); portOf(t, f, imagetag.Seed) != want {
				t.Errorf("seed serves port %s, want %s", portOf(t, f, imagetag.Seed), want)
			}
			// Tasks that run a former placeholder can start again as long as it has a tag.
			placeholders := []string{seed}
			if test.renewed {
				placeholders = append(placeholders, before)
			}
			for _, digest := range placeholders {
				if tagged := f.digest(t, "placeholder-"+strings.TrimPrefix(digest, "sha256:")[:12]); tagged != digest {
					t.Errorf("the tag of the placeholder %s names %s", digest, tagged)
				}
			}
			if data["SeedDigest"] != seed || data["LiveDigest"] != after {
				t.Errorf("data %v, want %s and %s", data, seed, after)
			}
			if test.renewed && after != seed {
				t.Errorf("live is %s, want seed's %s", after, seed)
			}
			if !strings.Contains(lastLine(out.String()), `"tag":"live"`) || !strings.Contains(lastLine(out.String()), `"why":"`+test.why+`"`) {
				t.Errorf("the log's last line is %s, want live and %q", lastLine(out.String()), test.why)
			}
			if !test.renewed && (after != before || f.wrote(imagetag.Live)) {
				t.Errorf("live was %s, is %s, written: %t; want it untouched", before, after, f.wrote(imagetag.Live))
			}
		})
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func portOf(t *testing.T, f *fakeECR, tag string) string {
	t.Helper()
	image, err := remote.Image(f.tag(t, tag), asTester)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(config.Config.Env[0], "PORT=")
}

func TestAnApplicationThatCannotRunFailsEarly(t *testing.T) {
	attestation := stated(platformImage(t, "unknown", "unknown"), "unknown", "unknown")
	tests := map[string]struct {
		live         remote.Taggable
		architecture string
		want         string
	}{
		"one platform": {
			platformImage(t, "linux", "amd64"), "ARM64",
			"does not run on architecture ARM64: it has [linux/amd64], but no linux/arm64; set architecture back, release an image that is built for both linux/amd64 and linux/arm64, then change it again",
		},
		"index with an attestation": {
			indexOf(stated(platformImage(t, "linux", "arm64"), "linux", "arm64"), attestation), "X86_64",
			"does not run on architecture X86_64: it has [linux/arm64], but no linux/amd64; set",
		},
		"other system": {platformImage(t, "windows", "amd64"), "X86_64", "it has [windows/amd64], but no linux/amd64"},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeECR(t)
			before := f.put(t, test.live)
			_, _, err := f.handler(t, "v1").handle(t.Context(), updateEvent("Architecture", test.architecture))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), repositoryUnderTest+":live") {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if after := f.digest(t, imagetag.Live); after != before {
				t.Errorf("live was %s, is %s; want it untouched", before, after)
			}
		})
	}
}

func answer(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	io.WriteString(w, body)
	return true
}

func disconnect(w http.ResponseWriter) bool {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		connection.Close()
	}
	return err == nil
}

func TestFaults(t *testing.T) {
	const (
		throttled = `{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}`
		denied    = `{"errors":[{"code":"DENIED","message":"not authorized to perform: ecr:InitiateLayerUpload"}]}`
	)
	manifests := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	authorized := func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/v2/") && r.Header.Get("Authorization") != ""
	}
	tests := map[string]struct {
		on    func(*http.Request) bool
		fault func(http.ResponseWriter, *http.Request) bool
		want  string // the failure, if the fault never ends
	}{
		"an interrupted upload": {
			func(r *http.Request) bool { return r.Method == http.MethodPatch },
			func(w http.ResponseWriter, r *http.Request) bool {
				io.CopyN(io.Discard, r.Body, 10)
				return disconnect(w)
			},
			"push seed to",
		},
		"a throttled manifest": {
			manifests, func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 429, throttled) },
			"unexpected status code 429 Too Many Requests",
		},
		"a throttled upload": {
			func(r *http.Request) bool { return r.Method == http.MethodPost && authorized(r) },
			func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 429, throttled) },
			"TOOMANYREQUESTS: Rate exceeded",
		},
		"a registry out of order": {
			authorized, func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 503, "") },
			"503 Service Unavailable",
		},
		"a role whose policy is not in effect for the registry": {
			func(r *http.Request) bool { return r.Method == http.MethodPost && authorized(r) },
			func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 403, denied) },
			"DENIED: not authorized to perform: ecr:InitiateLayerUpload",
		},
		"credentials that are not in effect": {
			authorized, func(w http.ResponseWriter, r *http.Request) bool { return answer(w, 401, "") },
			"401 Unauthorized",
		},
		"a role whose policy is not in effect for ECR": {
			func(r *http.Request) bool { return r.URL.Path == "/" },
			func(w http.ResponseWriter, r *http.Request) bool {
				return answer(w, 400, `{"__type":"AccessDeniedException","message":"no identity-based policy allows it"}`)
			},
			"no identity-based policy allows it; the caller needs ecr:GetAuthorizationToken",
		},
	}
	for behaviour, test := range tests {
		run := func(t *testing.T, times int) error {
			f, seen := newFakeECR(t), 0
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !test.on(r) || seen == times {
					return false
				}
				seen++
				return test.fault(w, r)
			}
			_, _, err := f.handler(t, "v1").handle(t.Context(), createEvent())
			f.mu.Lock()
			f.fault = nil
			happened := seen > 0
			f.mu.Unlock()
			if !happened {
				t.Fatal("the fault never happened")
			}
			if err == nil {
				f.digest(t, imagetag.Seed)
				f.digest(t, imagetag.Live)
			}
			return err
		}
		t.Run(behaviour+" is retried", func(t *testing.T) {
			if err := run(t, 2); err != nil {
				t.Error(err)
			}
		})
		t.Run(behaviour+" that lasts is a clear failure", func(t *testing.T) {
			if err := run(t, -1); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAPushThatCameSecond(t *testing.T) {
	const exists = `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'live' already exists and cannot be overwritten"}]}`
	tests := map[string]struct {
		first string // the program that another push made live
		fails bool
	}{
		"succeeds if the tag names the same image": {first: "v1"},
		"fails if the tag names another image":     {first: "v0", fails: true},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			f := newFakeECR(t)
			index, err := newPlaceholder(f.handler(t, test.first).programDir, 5000)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Push(f.tag(t, "other"), index, asTester); err != nil {
				t.Fatal(err)
			}
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/live") {
					return false
				}
				first, err := index.RawManifest()
				if err != nil {
					t.Error(err)
				}
				put := httptest.NewRequest(http.MethodPut, r.URL.Path, bytes.NewReader(first))
				put.Header.Set("Content-Type", string(types.OCIImageIndex))
				f.registry.ServeHTTP(httptest.NewRecorder(), put)
				return answer(w, http.StatusBadRequest, exists)
			}
			_, _, err = f.handler(t, "v1").handle(t.Context(), createEvent())
			if (err != nil) != test.fails || (test.fails && !strings.Contains(err.Error(), "already exists")) {
				t.Errorf("got %v, want a failure: %t", err, test.fails)
			}
		})
	}
}

func TestTimeRunningOutReportsTheLastFailure(t *testing.T) {
	f := newFakeECR(t)
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/") && answer(w, 503, "")
	}
	h := f.handler(t, "v1")
	h.backoff = remote.Backoff{Duration: 5 * time.Millisecond, Factor: 1, Steps: 1000}
	ctx, cancel := context.WithTimeout(t.Context(), reportTime+300*time.Millisecond)
	defer cancel()
	_, _, err := h.handle(ctx, createEvent())
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded; the last failure before was: ") || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v, want the deadline and the 503", err)
	}
	if ctx.Err() != nil {
		t.Error("no time was left to report")
	}
}

func TestDeleteSucceedsAndTouchesNothing(t *testing.T) {
	f := newFakeECR(t)
	event := cfn.Event{RequestType: cfn.RequestDelete, PhysicalResourceID: "request", ResourceProperties: map[string]any{"Colour": 1}}
	id, _, err := f.handler(t, "v1").handle(t.Context(), event)
	if err != nil || id != "request" || len(f.requests) != 0 {
		t.Errorf("id %q, error %v, requests %v; want the same id and nothing else", id, err, f.requests)
	}
}

func TestUpdateWithInvalidPropertiesKeepsThePhysicalID(t *testing.T) {
	f := newFakeECR(t)
	id, _, err := f.handler(t, "v1").handle(t.Context(), updateEvent("RepositoryName", "Not/Valid"))
	if err == nil || id != "seed-image/"+repositoryUnderTest {
		t.Errorf("id %q, error %v; want the old id, or CloudFormation replaces the resource", id, err)
	}
}

func TestAMissingProgramNamesItsPath(t *testing.T) {
	f := newFakeECR(t)
	h := f.handler(t, "v1")
	missing := filepath.Join(h.programDir, "seed-arm64")
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.handle(t.Context(), createEvent()); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v, want %s", err, missing)
	}
}

type endpoint string

func (e endpoint) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	if e == "panic" {
		panic("broken")
	}
	var out ecr.GetAuthorizationTokenOutput
	err := json.Unmarshal([]byte(`{"AuthorizationData":[{"AuthorizationToken":"c2VjcmV0","ProxyEndpoint":"`+string(e)+`"}]}`), &out)
	return &out, err
}

func TestAnUnusableEndpointIsAClearFailure(t *testing.T) {
	for _, e := range []string{"", "registry.example.com", "ftp://registry.example.com"} {
		f := newFakeECR(t)
		h := f.handler(t, "v1")
		h.ecr = endpoint(e)
		_, _, err := h.handle(t.Context(), createEvent())
		if want := fmt.Sprintf("proxyEndpoint is %q", e); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestCloudFormationsAnswer goes through the wrapper that sends it.
func TestCloudFormationsAnswer(t *testing.T) {
	f := newFakeECR(t)
	panicking := f.handler(t, "v1")
	panicking.ecr = endpoint("panic")
	long := f.handler(t, "v1")
	long.ecr = endpoint(strings.Repeat("<&>é", 5000))
	tests := map[string]struct {
		h    *handler
		want cfn.Response
	}{
		"holds both digests": {f.handler(t, "v1"), cfn.Response{Status: cfn.StatusSuccess}},
		"holds a panic":      {panicking, cfn.Response{Status: cfn.StatusFailed, Reason: "panic: broken; the stack is in the function's log"}},
		"cuts a long reason": {long, cfn.Response{Status: cfn.StatusFailed, Reason: "get the registry's credentials: its proxyEndpoint is"}},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			var body []byte
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ = io.ReadAll(r.Body)
			}))
			defer server.Close()
			event := createEvent()
			event.ResponseURL = server.URL
			log.SetOutput(io.Discard)
			defer log.SetOutput(os.Stderr)
			if _, err := cfn.LambdaWrap(test.h.handle)(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			var got cfn.Response
			if err := json.Unmarshal(body, &got); err != nil || len(body) > 4096 {
				t.Fatalf("%d bytes of answer, %v", len(body), err)
			}
			if got.Status != test.want.Status || !strings.HasPrefix(got.Reason, test.want.Reason) || got.PhysicalResourceID != "seed-image/"+repositoryUnderTest {
				t.Errorf("got %+v", got)
			}
			if got.Status == cfn.StatusSuccess && (got.Data["SeedDigest"] == nil || got.Data["LiveDigest"] == nil) {
				t.Errorf("got data %v", got.Data)
			}
		})
	}
}

func TestReasonKeepsBothEnds(t *testing.T) {
	err := fmt.Errorf("push live: \n%s\n denied", strings.Repeat("<html> ", 1000))
	got := reason(err)
	if !strings.HasPrefix(got, "push live: <html>") || !strings.HasSuffix(got, " denied") || jsonLength(got) > maxReason || jsonLength(got) < maxReason-300 {
		t.Errorf("%d bytes: %s", jsonLength(got), got)
	}
	if got := reason(fmt.Errorf("short é")); got != "short é" {
		t.Errorf("got %q, want it as it is", got)
	}
}

func TestLogSaysWhatWasPushedAndWhy(t *testing.T) {
	f := newFakeECR(t)
	h := f.handler(t, "v1")
	var out bytes.Buffer
	h.log = slog.New(slog.NewJSONHandler(&out, nil))
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "invocation"})
	if _, _, err := h.handle(ctx, createEvent()); err != nil {
		t.Fatal(err)
	}
	var last map[string]any
	if err := json.Unmarshal([]byte(lastLine(out.String())), &last); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"msg": "pushed", "tag": "live", "why": "the repository had no live image", "requestId": "invocation",
		"cloudFormationRequestId": "request", "repository": repositoryUnderTest, "digest": f.digest(t, imagetag.Live),
	} {
		if last[key] != want {
			t.Errorf("%s is %v, want %s", key, last[key], want)
		}
	}
	if strings.Contains(out.String(), token) {
		t.Error("the log holds the registry's password")
	}
}

func TestRetriesSpanIAMsDelay(t *testing.T) {
	retryer := newRetryer(defaultBackoff)
	var total time.Duration
	for attempt := 1; attempt < retryer.MaxAttempts(); attempt++ {
		delay, err := retryer.RetryDelay(attempt, nil)
		if err != nil {
			t.Fatal(err)
		}
		total += delay
		if delay >= reportTime {
			t.Errorf("wait %d is %s, longer than the time kept for the report", attempt, delay)
		}
	}
	if total < 30*time.Second || total > 40*time.Second {
		t.Errorf("the waits are %s in all, want half a minute", total)
	}
	if !retryer.IsErrorRetryable(&codedError{"AccessDeniedException"}) || retryer.IsErrorRetryable(&codedError{"InvalidParameterException"}) {
		t.Error("want AccessDeniedException retried, and InvalidParameterException not")
	}
}

// FuzzEvent takes the event as Lambda does, from its JSON.
func FuzzEvent(f *testing.F) {
	for _, event := range []cfn.Event{createEvent(), updateEvent("ContainerPort", "80"), {RequestType: cfn.RequestDelete, PhysicalResourceID: "seed-image/" + repositoryUnderTest}} {
		raw, err := json.Marshal(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"RequestType":"Update","PhysicalResourceId":"x","ResourceProperties":{"RepositoryName":["a"],"ContainerPort":80,"Architecture":null,"ProgramVersion":{}}}`))
	f.Add([]byte(`{"RequestType":"Delete","ResourceProperties":{"x":1}}`))
	f.Add([]byte(`{"RequestType":"Create","PhysicalResourceId":null}`))
	f.Add([]byte(`null`))
	fake := newFakeECR(f)
	h := fake.handler(f, "v1")
	f.Fuzz(func(t *testing.T, raw []byte) {
		var event cfn.Event
		if json.Unmarshal(raw, &event) != nil {
			t.Skip() // nothing of the function is called
		}
		p, invalid := decode(event.ResourceProperties)
		wanted := event.PhysicalResourceID
		works := event.RequestType != cfn.RequestDelete && invalid == nil
		if works {
			wanted = "seed-image/" + p.RepositoryName
		}
		var out bytes.Buffer
		h := *h
		h.log = slog.New(slog.NewJSONHandler(&out, nil))
		fake.reset()
		id, data, err := h.handle(t.Context(), event)
		switch {
		case strings.Contains(out.String(), `"msg":"panic"`):
			t.Error(out.String())
		case id != wanted:
			t.Errorf("physical id %q, want %q", id, wanted)
		case works && (err != nil || data["SeedDigest"] == "" || data["SeedDigest"] != data["LiveDigest"]):
			t.Errorf("data %v, error %v; want the same digest twice", data, err)
		case !works && (len(fake.requests) > 0 || data != nil || (err == nil) != (event.RequestType == cfn.RequestDelete)):
			t.Errorf("requests %q, data %v, error %v; want nothing done, and an error unless it is a Delete", fake.requests, data, err)
		case err != nil && (jsonLength(err.Error()) > maxReason || strings.Contains(err.Error(), "\n")):
			t.Errorf("a reason of %d bytes: %v", jsonLength(err.Error()), err)
		}
	})
}
