package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// releasedWorld runs sha-a, after its release was announced.
func releasedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.push("sha-a")
	w.complete(w.release("sha-a"))
	w.deliver()
	w.wantLive("sha-a")
	w.calls = nil
	return w
}

func TestLiveFollowsADeploymentThatOnlyAnEventTells(t *testing.T) {
	w := releasedWorld(t)
	a := w.stable
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.deliver()
	w.wantLive("sha-b")

	w.complete(w.redeploy(a)) // a rollback by hand
	w.deliver()
	w.wantLive("sha-a")
}

func TestLiveMovesByItsManifestAlone(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.calls = nil
	w.deliver()
	w.wantLive("sha-b") // the fake takes no other bytes and no other media type
	put := slices.Index(w.calls, "PutImage")
	if put < 0 || w.count("PutImage") != 1 || !slices.Contains(w.calls[put:], "BatchGetImage") || !slices.Contains(w.calls[put:], "ListServiceDeployments") {
		t.Errorf("calls %v, want one PutImage, and then a look at live and at ECS", w.calls)
	}
}

func TestWhatLiveBecomes(t *testing.T) {
	tests := map[string]struct {
		arrange func(w *world) *deployment
		want    string // the tag whose image live is; or a digest
		moves   int
	}{
		"the index of the tag that the task definition names, not another one that holds the image": {
			func(w *world) *deployment {
				w.push("sha-b")
				same := w.images[w.tags["sha-b"]]
				w.store(same.raw+" ", same.mediaType, "sha-0") // other bytes, same platforms
				return w.release("sha-b")
			}, "sha-b", 1,
		},
		"an image without an index": {
			func(w *world) *deployment { w.pushSingle("sha-b"); return w.release("sha-b") }, "sha-b", 1,
		},
		"the index that a digest names": {
			func(w *world) *deployment { return w.update(w.register(definition{uri + "@" + w.push("sha-b"), 1})) }, "sha-b", 1,
		},
		"the index that holds the platform that a digest names": {
			func(w *world) *deployment {
				return w.update(w.register(definition{uri + "@" + w.platform(w.push("sha-b")), 1}))
			}, "sha-b", 1,
		},
		"the build's index before another tag's": {
			func(w *world) *deployment {
				w.push("sha-b", "other")
				same := w.images[w.tags["other"]]
				w.store(same.raw+" ", same.mediaType, "a-hand-made-tag")
				return w.update(w.register(definition{uri + "@" + w.platform(w.tags["sha-b"]), 1}))
			}, "sha-b", 1,
		},
		"the index that still has another tag, after an old buildspec moved latest": {
			func(w *world) *deployment {
				w.push("sha-b", "latest")
				d := w.release("latest")
				w.push("latest")
				return d
			}, "sha-b", 1,
		},
		"the platform itself, after its only tag moved": {
			func(w *world) *deployment {
				w.push("old", "latest")
				d := w.release("latest")
				delete(w.tags, "old")
				w.push("latest")
				return d
			}, "", 1,
		},
		"what it was, when …:live was deployed": {
			func(w *world) *deployment { return w.infrastructure() }, "sha-a", 0,
		},
		"what it was, when the very image was deployed again": {
			func(w *world) *deployment { return w.release("sha-a") }, "sha-a", 0,
		},
		"what it was, when another index has the same platform": {
			func(w *world) *deployment {
				same := w.images[w.tags["sha-a"]]
				w.store(same.raw+" ", same.mediaType, "sha-b")
				w.wholeTags = false // else ECS tells the two apart
				return w.release("sha-b")
			}, "sha-a", 0,
		},
		"the older image that …:live was, after a rollback to an old revision of the infrastructure": {
			func(w *world) *deployment { return w.redeploy(w.deployments[0].target) }, "seed", 1,
		},
		"an image again after somebody deleted the tag": {
			func(w *world) *deployment { d := w.infrastructure(); delete(w.tags, "live"); return d }, "sha-a", 1,
		},
	}
	for name, test := range tests {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ECS_reports_indexes_%v", name, whole), func(t *testing.T) {
				w := newWorld(t)
				w.wholeTags = whole
				w.push("sha-a")
				w.complete(w.release("sha-a"))
				w.deliver()
				w.calls = nil

				d := test.arrange(w)
				want := w.tags[test.want]
				if want == "" {
					want = d.target.digest
				}
				w.complete(d)
				w.deliver()
				if err := w.liveRuns(); err != nil && !whole {
					t.Error(err)
				}
				if w.tags["live"] != want {
					t.Errorf("live is %v %s, want %s", w.tagsOf(w.tags["live"]), w.tags["live"], want)
				}
				if n := w.count("PutImage"); n != test.moves {
					t.Errorf("%d moves, want %d", n, test.moves)
				}
			})
		}
	}
}

// TestManyTags has more than BatchGetImage takes at once.
func TestManyTags(t *testing.T) {
	w := releasedWorld(t)
	for i := range 2 * imageBatch {
		w.push(fmt.Sprintf("sha-%03d", i))
	}
	w.complete(w.update(w.register(definition{uri + "@" + w.platform(w.tags["sha-199"]), 1})))
	w.deliver()
	w.wantLive("sha-199")
}

// TestEventsInTheWrongOrder tells the newest deployment first, and the older one, or only that, afterwards.
func TestEventsInTheWrongOrder(t *testing.T) {
	for name, order := range map[string][]int{"swapped": {1, 0}, "the newer one is late": {0}, "doubled": {1, 0, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			w.push("sha-b")
			w.push("sha-c")
			w.complete(w.release("sha-b"))
			w.complete(w.release("sha-c"))
			events := w.announced
			for _, i := range order {
				w.announced = append(w.announced[:0:0], events[i])
				w.deliver()
				w.wantLive("sha-c")
			}
		})
	}
}

func TestTheLastToEndCountsNotTheLastToBegin(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	first := w.release("sha-b")
	w.push("sha-c")
	w.complete(w.release("sha-c"))
	w.complete(first)
	w.deliver()
	w.wantLive("sha-b")
}

// TestTwoCallsRace lets a newer deployment end, and a second call of the function see it, before each of the first call's
// calls to AWS in turn.
func TestTwoCallsRace(t *testing.T) {
	for at := 0; ; at++ {
		w := releasedWorld(t)
		w.push("sha-b")
		w.push("sha-c")
		w.complete(w.release("sha-b"))
		d := w.release("sha-c")
		n, happened := 0, false
		w.before = func(string) {
			if n == at {
				happened = true
				w.complete(d)
				w.deliverOne(len(w.announced) - 1)
			}
			n++
		}
		if err := w.deliverOne(0); err != nil {
			t.Errorf("before call %d: %v", at, err)
		}
		w.before = nil
		if !happened {
			if at < 10 {
				t.Errorf("only %d places to race at", at)
			}
			return
		}
		w.wantLive("sha-c")
	}
}

func TestLiveStaysWhenADeploymentWasCompletedWithoutARunningTask(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.desired = 0
	d := w.release("sha-b")
	w.complete(d)
	w.deliver()
	if w.tags["live"] != w.tags["sha-a"] || w.count("PutImage") > 0 {
		t.Errorf("live is %v, want sha-a", w.tagsOf(w.tags["live"]))
	}

	// The service is started with a new deployment, as the documentation says.
	w.desired = 1
	w.complete(w.update(d.target.definition))
	w.deliver()
	w.wantLive("sha-b")
}

// TestLiveFollowsAServiceThatWasStoppedAfterwards has a task when the deployment was completed, and none any more.
func TestLiveFollowsAServiceThatWasStoppedAfterwards(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.desired = 0
	w.deliver()
	w.wantLive("sha-b")
}

// TestAFailedDeploymentLeavesLiveAlone includes the moment in which ECS has announced the failure but not ended the rollback.
func TestAFailedDeploymentLeavesLiveAlone(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.clock = w.clock.Add(time.Hour)
	d := w.release("sha-b")
	w.rollBack(d, breaker)
	began := w.clock
	w.deliver()
	w.wantLive("sha-a")
	if w.clock.Sub(began) > settleTime {
		t.Errorf("waited %s for a deployment that was not announced as completed", w.clock.Sub(began))
	}
	w.rolledBack(d)
	w.deliver()
	w.wantLive("sha-a")
}

func TestAnEventThatCameBeforeECSListsTheDeployment(t *testing.T) {
	late := func(t *testing.T, by time.Duration) (*world, error) {
		w := releasedWorld(t)
		w.clock = w.clock.Add(time.Hour)
		w.push("sha-b")
		d := w.release("sha-b")
		w.complete(d)
		listed := w.clock.Add(by)
		status := d.status
		d.status = types.ServiceDeploymentStatusInProgress
		w.before = func(string) {
			if w.clock.After(listed) {
				d.status = status
			}
		}
		return w, w.deliverOne(0)
	}
	t.Run("is waited for", func(t *testing.T) {
		w, err := late(t, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		w.wantLive("sha-b")
	})
	t.Run("is called again for", func(t *testing.T) {
		w, err := late(t, 10*time.Minute)
		wantError(t, err, "lists none that ended then", "Lambda calls again")
		if w.tags["live"] != w.tags["sha-a"] {
			t.Errorf("live is %v", w.tagsOf(w.tags["live"]))
		}
	})
}

func TestLiveCannotFollow(t *testing.T) {
	tests := map[string]struct {
		arrange func(w *world)
		want    []string
	}{
		"an image that is not in the repository": {
			func(w *world) {
				w.complete(w.update(w.register(definition{"docker.io/library/nginx@sha256:" + strings.Repeat("0", 64), 1})))
			}, []string{"docker.io/library/nginx@sha256:0000", "not in the repository", "push the image"},
		},
		"an image that ECS gives no digest of": {
			func(w *world) {
				w.push("sha-b")
				d := w.release("sha-b")
				d.target.digest = ""
				w.complete(d)
			}, []string{"ECS gives no digest", ":sha-b", "versionConsistency"},
		},
		"a rollback to an unknown revision": {
			func(w *world) {
				w.push("sha-b")
				d := w.release("sha-b")
				w.rollBack(d, breaker)
				w.rolledBack(d)
				d.rollback = nil
			}, []string{"was rolled back, but ECS does not say to which revision"},
		},
		"while somebody else keeps moving it": {
			func(w *world) {
				w.push("sha-b")
				w.complete(w.release("sha-b"))
				w.before = func(call string) {
					if call == "ListServiceDeployments" {
						w.tags["live"] = w.tags["seed"]
					}
				}
			}, []string{"was moved 5 times", "look who else moves it"},
		},
		"a broken index": {
			func(w *world) {
				w.push("sha-b")
				w.complete(w.release("sha-b"))
				w.images[w.tags["live"]] = stored{"{", string(ecrMediaType)}
			}, []string{"read the index sha256:", "push the image again"},
		},
		"when ECR cannot tell": {
			func(w *world) {
				w.push("sha-b")
				w.complete(w.release("sha-b"))
				w.handler.ecr = inaccessible{w}
			}, []string{"read the image live", "ImageInaccessible", "archived"},
		},
		"without permission": {
			func(w *world) {
				w.push("sha-b")
				w.complete(w.release("sha-b"))
				w.fault = func(call string) error {
					if call == "PutImage" {
						return errors.New("AccessDeniedException: not authorized to perform: ecr:PutImage")
					}
					return nil
				}
			}, []string{"move the tag live of repository demo-dev", "deployment-2", "ecr:PutImage"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := releasedWorld(t)
			test.arrange(w)
			wantError(t, w.deliverOne(len(w.announced)-1), test.want...)
			if !strings.Contains(w.log.String(), `"level":"ERROR"`) {
				t.Error("the log has no error")
			}
		})
	}
}

// failingMove has a completed deployment whose image live cannot follow, and the event that told of it.
func failingMove(t *testing.T) (*world, json.RawMessage) {
	t.Helper()
	w := releasedWorld(t)
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.fault = func(call string) error {
		if call == "PutImage" {
			return errors.New("AccessDeniedException: not authorized to perform: ecr:PutImage")
		}
		return nil
	}
	return w, w.announced[0]
}

// TestAMoveThatFailed is called as Lambda does: with the same event a minute after the first failure, and two after the second.
func TestAMoveThatFailed(t *testing.T) {
	t.Run("is announced with the last try", func(t *testing.T) {
		w, event := failingMove(t)
		for i, pause := range []time.Duration{0, time.Minute, 2 * time.Minute} {
			w.clock = w.clock.Add(pause)
			wantError(t, w.handler.handle(t.Context(), event), "ecr:PutImage")
			if want := i / 2; len(w.published) != want {
				t.Fatalf("after try %d: announced %d times, want %d", i+1, len(w.published), want)
			}
		}
		if got := *w.published[0].Subject; got != "The tag live was not moved: web" {
			t.Errorf("the subject is %q", got)
		}
		wantParts(t, *w.published[0].Message, "deployment-2", "ecr:PutImage", "live may still name the image before", "the next deploy of the infrastructure",
			"Correct the cause", "aws ecs update-service --region eu-central-1 --force-new-deployment --cluster demo-dev --service web", deployments)
	})
	t.Run("is not announced if the second try succeeds", func(t *testing.T) {
		w, event := failingMove(t)
		wantError(t, w.handler.handle(t.Context(), event), "ecr:PutImage")
		w.clock, w.fault = w.clock.Add(time.Minute), nil
		if err := w.handler.handle(t.Context(), event); err != nil || len(w.published) > 0 {
			t.Errorf("%v, announced %d times", err, len(w.published))
		}
		w.wantLive("sha-b")
	})
	t.Run("is announced if the event is late", func(t *testing.T) {
		w, event := failingMove(t)
		w.clock = w.clock.Add(time.Hour)
		wantError(t, w.handler.handle(t.Context(), event), "ecr:PutImage")
		if len(w.published) != 1 {
			t.Errorf("announced %d times", len(w.published))
		}
	})
	t.Run("by a panic is announced", func(t *testing.T) {
		w, event := failingMove(t)
		w.clock = w.clock.Add(3 * time.Minute)
		w.fault = func(call string) error {
			if call == "BatchGetImage" {
				panic("index out of range")
			}
			return nil
		}
		wantError(t, w.handler.handle(t.Context(), event), "panic")
		if len(w.published) != 1 {
			t.Fatalf("announced %d times", len(w.published))
		}
		wantParts(t, *w.published[0].Message, "panic in the release function: index out of range", "live may still name")
	})
	t.Run("is only logged without a topic", func(t *testing.T) {
		w, event := failingMove(t)
		w.handler.topic, w.clock = "", w.clock.Add(3*time.Minute)
		wantError(t, w.handler.handle(t.Context(), event), "ecr:PutImage")
		if w.count("Publish") > 0 {
			t.Error("published")
		}
		wantParts(t, w.log.String(), `"msg":"failed"`, `"msg":"nothing announced"`)
	})
	t.Run("and cannot be announced is an error of its own", func(t *testing.T) {
		w, event := failingMove(t)
		w.clock, w.fault = w.clock.Add(3*time.Minute), func(call string) error { return errors.New("no network for " + call) }
		wantError(t, w.handler.handle(t.Context(), event), "no network for ListServiceDeployments")
		wantParts(t, w.log.String(), `"msg":"not announced"`, "no network for Publish")
	})
}

// TestTheAnnouncedCallMovesLive gives the function the very event that the message says.
func TestTheAnnouncedCallMovesLive(t *testing.T) {
	w, event := failingMove(t)
	w.clock = w.clock.Add(3 * time.Minute)
	wantError(t, w.handler.handle(t.Context(), event), "ecr:PutImage")
	if len(w.published) != 1 {
		t.Fatal("not announced")
	}
	_, payload, _ := strings.Cut(*w.published[0].Message, " --payload '")
	payload, _, _ = strings.Cut(payload, "' ")
	w.fault = nil
	if err := w.handler.handle(t.Context(), json.RawMessage(payload)); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	w.wantLive("sha-b")
}

const ecrMediaType = "application/vnd.oci.image.index.v1+json"

// inaccessible is an ECR whose images are in another class of storage.
type inaccessible struct{ *world }

func (inaccessible) BatchGetImage(_ context.Context, in *ecr.BatchGetImageInput, _ ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error) {
	return &ecr.BatchGetImageOutput{Failures: []ecrtypes.ImageFailure{{
		FailureCode: ecrtypes.ImageFailureCodeImageInaccessible, FailureReason: aws.String("archived"), ImageId: &in.ImageIds[0],
	}}}, nil
}

func TestATagThatAnotherCallHasMovedAlreadyIsSuccess(t *testing.T) {
	w := releasedWorld(t)
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.before = func(call string) {
		if call == "PutImage" {
			w.tags["live"] = w.tags["sha-b"]
		}
	}
	w.deliver()
	w.wantLive("sha-b")
}

func TestTheLogSaysWhatWasMovedAndWhy(t *testing.T) {
	w := releasedWorld(t)
	before := w.tags["live"]
	w.push("sha-b")
	w.complete(w.release("sha-b"))
	w.log.Reset()
	w.deliver()
	for _, part := range []string{`"msg":"live moved"`, `"from":"` + before, `"to":"` + w.tags["sha-b"], `"deployment":"` + w.deployments[2].arn, `"why":"the last completed deployment runs ` + w.stable.digest} {
		if !strings.Contains(w.log.String(), part) {
			t.Errorf("no %s in the log:\n%s", part, w.log.String())
		}
	}
}

// wantError fails the test unless the error has all parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	wantParts(t, err.Error(), parts...)
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in: %s", part, text)
		}
	}
}
