package registry

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// endpoint is an ECR whose registry is there.
type endpoint string

func (e endpoint) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	token, address := "QVdTOnBhc3N3b3Jk", string(e) // AWS:password
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []types.AuthorizationData{{AuthorizationToken: &token, ProxyEndpoint: &address}}}, nil
}

var fast = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 4}

func connect(t *testing.T, address string, o Options) *Repository {
	t.Helper()
	o.Backoff = fast
	repo, err := Connect(t.Context(), endpoint(address), "flask-dev/app", o)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func TestHTTPSEndpointsAreNotDowngraded(t *testing.T) {
	for address, want := range map[string]string{
		"https://111111111111.dkr.ecr.eu-central-1.amazonaws.com": "https", "http://registry.example.com:5000": "http",
	} {
		if got := connect(t, address, Options{}).name.Scheme(); got != want {
			t.Errorf("%s is spoken to over %s", address, got)
		}
	}
}

func TestDeniedRequestsAreRetriedOnlyOnDemand(t *testing.T) {
	for name, retried := range map[string]bool{"final by default": false, "retried on demand": true} {
		t.Run(name, func(t *testing.T) {
			denials := 0
			real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/manifests/") && denials < 2 {
					denials++
					http.Error(w, `{"errors":[{"code":"DENIED","message":"not authorized"}]}`, http.StatusForbidden)
					return
				}
				real.ServeHTTP(w, r)
			}))
			defer server.Close()
			image, err := connect(t, server.URL, Options{RetryDenied: retried}).Inspect("live")
			if image != nil {
				t.Errorf("got %v of an empty registry", image)
			}
			if retried && (err != nil || denials != 2) {
				t.Errorf("got %v after %d denials, want the answer after them", err, denials)
			}
			if !retried && (err == nil || !strings.Contains(err.Error(), "not authorized") || denials != 1) {
				t.Errorf("got %v after %d denials, want the first", err, denials)
			}
		})
	}
}

func TestInspectReadsByTagAndByDigest(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repo := connect(t, server.URL, Options{})
	child := func(os, arch string) mutate.IndexAddendum {
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}}
	}
	arm, attestation := child("linux", "arm64"), child("unknown", "unknown")
	index := mutate.AppendManifests(empty.Index, arm, attestation)
	if err := repo.Push(t.Context(), "live", index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	platform, err := arm.Add.(v1.Image).Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"live", digest.String()} {
		image, err := repo.Inspect(reference)
		if err != nil || image == nil {
			t.Fatalf("%s: got %v, %v", reference, image, err)
		}
		if image.Digest != digest || len(image.Platforms) != 1 || !image.RunsOn("arm64") || image.RunsOn("amd64") || image.Placeholder {
			t.Errorf("%s: got %+v", reference, image)
		}
		if !image.Holds(digest.String()) || !image.Holds(platform.String()) || image.Holds("sha256:"+strings.Repeat("0", 64)) {
			t.Errorf("%s holds %s: %t, and its platform %s: %t; want both, and no other", reference,
				digest, image.Holds(digest.String()), platform, image.Holds(platform.String()))
		}
	}
	image, err := repo.Inspect(platform.String())
	if err != nil || image == nil || image.Digest != platform {
		t.Errorf("got %v, %v of one platform", image, err)
	}
	for _, reference := range []string{"other", "sha256:" + strings.Repeat("0", 64)} {
		if image, err := repo.Inspect(reference); image != nil || err != nil {
			t.Errorf("%s: got %v, %v; want nothing", reference, image, err)
		}
	}
}
