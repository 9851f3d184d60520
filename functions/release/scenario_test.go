package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// TestAnInfrastructureDeployNeverChangesTheImage is the story of a service: whatever happened to it, a deploy of the
// infrastructure runs the image that the last completed deployment ran.
func TestAnInfrastructureDeployNeverChangesTheImage(t *testing.T) {
	w := newWorld(t)
	release := func(tag string) {
		w.push(tag)
		r, d := w.begin(tag)
		w.complete(d)
		w.deliver()
		if r.poll(); !r.ended() || r.failure != "" {
			t.Errorf("the release of %s did not succeed: %+v", tag, r.result)
		}
	}
	infrastructure := func() *revision {
		d := w.infrastructure()
		w.complete(d)
		w.deliver()
		return d.target
	}
	failedRelease := func(tag string) {
		w.push(tag)
		r, d := w.begin(tag)
		w.rollBack(d, breaker)
		if r.poll(); !strings.Contains(r.failure, breaker) {
			t.Errorf("the failed release of %s did not fail its action: %+v", tag, r.result)
		}
		w.rolledBack(d)
		w.deliver()
	}

	w.wantLive("seed") // until there was a release
	infrastructure()
	w.wantLive("seed")

	release("sha-a")
	w.wantLive("sha-a")
	a := w.stable
	withA := infrastructure()
	w.wantLive("sha-a")

	release("sha-b")
	infrastructure()
	w.wantLive("sha-b")

	w.complete(w.redeploy(a)) // a rollback in the console, to the release of a
	w.deliver()
	w.wantLive("sha-a")
	infrastructure()
	w.wantLive("sha-a")

	failedRelease("sha-c")
	w.wantLive("sha-a")
	infrastructure()
	w.wantLive("sha-a")

	release("sha-d")
	w.wantLive("sha-d")

	w.complete(w.redeploy(withA)) // by hand, to a revision of the infrastructure that ran …:live when that was a
	w.deliver()
	w.wantLive("sha-a")
	infrastructure()
	w.wantLive("sha-a")

	release("sha-e")
	w.complete(w.update(withA.definition)) // by hand, to its task definition: …:live is e today
	w.deliver()
	w.wantLive("sha-e")
	infrastructure()
	w.wantLive("sha-e")

	stopped := w.release("sha-d") // the console's button, during a deployment
	w.rollBack(stopped, "Stopped by the user")
	w.rolledBack(stopped)
	w.deliver()
	w.wantLive("sha-e")
	infrastructure()
	w.wantLive("sha-e")
}

// TestTwoReleasesRaceAnInfrastructureDeploy lets three deployments begin in every order, so that each takes the place of
// the one before, and either the last one completes or ECS rolls it back.
func TestTwoReleasesRaceAnInfrastructureDeploy(t *testing.T) {
	for _, order := range []string{"f g I", "f I g", "g f I", "g I f", "I f g", "I g f"} {
		for _, rollsBack := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/rolled_back_%v", order, rollsBack), func(t *testing.T) {
				w := newWorld(t)
				for _, tag := range []string{"sha-e", "sha-f", "sha-g"} {
					w.push(tag)
				}
				w.complete(w.release("sha-e"))
				w.deliver()

				runs := map[string]*run{}
				want, last := "sha-e", ""
				for _, name := range strings.Fields(order) {
					if last = name; name == "I" {
						w.infrastructure()
						continue
					}
					runs[name] = w.startRun("sha-" + name)
					w.release("sha-" + name)
					if runs[name].poll(); runs[name].ended() {
						t.Errorf("the release of %s has ended: %+v", name, runs[name].result)
					}
				}
				d := w.current()
				if rollsBack {
					w.rollBack(d, breaker)
					w.rolledBack(d)
				} else {
					w.complete(d)
					if last != "I" {
						want = "sha-" + last
					}
				}
				w.deliver()
				w.wantLive(want)
				for name, r := range runs {
					succeeds := name == last && !rollsBack
					if r.poll(); !r.ended() || (r.failure == "") != succeeds {
						t.Errorf("the action of %s: %+v, want success %v", name, r.result, succeeds)
					}
				}
				w.complete(w.infrastructure())
				w.deliver()
				w.wantLive(want)
			})
		}
	}
}

// buildLatest pushes an image without an index as latest, which is its only name, and returns its digest.
func (w *world) buildLatest(content string) string {
	digest := w.pushSingle(content, "latest")
	delete(w.tags, content)
	return digest
}

// TestRunsThatAllDeployLatest has a buildspec that writes …:latest into each imagedefinitions.json: nothing but time tells the
// deployments of two runs apart. The first run deploys a, and the second b.
func TestRunsThatAllDeployLatest(t *testing.T) {
	live := func(t *testing.T, w *world, digest string) {
		t.Helper()
		if err := w.liveRuns(); err != nil || w.tags["live"] != digest {
			t.Errorf("live is %s, want %s: %v", w.tags["live"], digest, err)
		}
	}
	release := func(w *world) *run { // a whole run that succeeds
		r, d := w.begin("latest")
		w.complete(d)
		w.deliver()
		r.poll().wantSuccess(lastPart(d.arn))
		return r
	}
	// justEnded has the first run's deployment, which ended a moment ago, or is about to, and the second run's image. Nothing of
	// the second run has happened but that its stage began.
	justEnded := func(t *testing.T, end func(*world, *deployment)) (w *world, a, b string, second *run) {
		w = newWorld(t)
		a = w.buildLatest("a")
		end(w, w.release("latest"))
		b = w.buildLatest("b")
		return w, a, b, w.startRun("latest")
	}
	ends := map[string]func(*world, *deployment){
		"completed":   func(w *world, d *deployment) { w.complete(d) },
		"rolled back": func(w *world, d *deployment) { w.rollBack(d, breaker); w.rolledBack(d) },
		"stopped":     func(w *world, d *deployment) { d.status, d.finished = types.ServiceDeploymentStatusStopped, w.clock },
		// The deploy action has given up after its time-out, and so the stage is free.
		"still rolling back": func(w *world, d *deployment) {
			w.rollBack(d, breaker)
			w.clock = w.clock.Add(w.handler.deployTimeout)
		},
	}

	t.Run("live follows each", func(t *testing.T) {
		w := newWorld(t)
		a := w.buildLatest("a")
		release(w)
		live(t, w, a)
		b := w.buildLatest("b")
		release(w)
		live(t, w, b)
	})
	t.Run("live follows the first although the second is built", func(t *testing.T) {
		w := newWorld(t)
		a := w.buildLatest("a")
		d := w.release("latest")
		w.buildLatest("b")
		w.complete(d)
		w.deliver()
		live(t, w, a)
		w.complete(w.infrastructure())
		w.deliver()
		live(t, w, a)
	})
	t.Run("the second is rolled back", func(t *testing.T) {
		w := newWorld(t)
		a := w.buildLatest("a")
		first := release(w)
		w.buildLatest("b")
		second, d := w.begin("latest")
		w.rollBack(d, breaker)
		second.poll().wantFailure(lastPart(d.arn), "is rolled back: "+breaker)
		w.rolledBack(d)
		w.deliver()
		live(t, w, a)
		if first.failure != "" || first.id != w.deployments[1].arn {
			t.Errorf("the first run: %+v", first.result)
		}
		w.complete(w.infrastructure())
		w.deliver()
		live(t, w, a)
	})
	t.Run("the first is still in progress at the second's first call", func(t *testing.T) {
		w := newWorld(t)
		w.buildLatest("a")
		d := w.release("latest")
		w.clock = w.clock.Add(10 * time.Minute) // longer than its actions waited, so that the stage is free
		b := w.buildLatest("b")
		second := w.startRun("latest")
		second.poll().wantProgress("deployment-1 of " + second.image + ": IN_PROGRESS")
		w.complete(d)
		second.poll().wantProgress("deployment-1 may be another run's")
		d = w.release("latest")
		second.poll().wantProgress("deployment-2")
		w.complete(d)
		w.deliver()
		second.poll().wantSuccess("deployment-2")
		live(t, w, b)
	})
	for how, end := range ends {
		t.Run("the first has "+how+" right before/the second succeeds", func(t *testing.T) {
			w, _, b, second := justEnded(t, end)
			second.poll().wantProgress("waiting for the deployment of "+second.image, "deployment-1 may be another run's")
			d := w.release("latest")
			second.poll().wantProgress("deployment-2")
			w.complete(d)
			w.deliver()
			second.poll().wantSuccess("deployment-2")
			live(t, w, b)
		})
		t.Run("the first has "+how+" right before/the second is rolled back before the next call", func(t *testing.T) {
			w, a, _, second := justEnded(t, end)
			second.poll().wantProgress("waiting for the deployment of " + second.image)
			d := w.release("latest")
			w.rollBack(d, breaker)
			second.poll().wantFailure("deployment-2", "is rolled back: "+breaker)
			w.rolledBack(d)
			w.deliver()
			if how == "completed" {
				live(t, w, a)
			}
		})
	}
}

// sequences is how many random ones each run of the tests plays.
const sequences = 5000

// TestLiveFollowsWhateverHappens plays random sequences of all that can happen to the service, with the function's calls late,
// doubled, in any order, and interrupted by more of it. When all has ended, live names what runs. And unless the last completed
// deployment was not known yet, no deploy of the infrastructure changed the image.
func TestLiveFollowsWhateverHappens(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(sequences), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := &sequence{world: newWorld(rt), expected: map[*deployment]string{}}
		s.wholeTags = rapid.Bool().Draw(rt, "ECS reports the digests of indexes")
		// All is drawn before the function is called: it would take rapid's panics for its own.
		for _, step := range rapid.SliceOfN(steps, 1, 25).Draw(rt, "steps") {
			s.play(step)
			if len(s.announced) > 0 {
				continue // the function does not know all yet
			}
			if err := s.liveRuns(); err != nil {
				rt.Fatalf("after %q: %v", step.What, err)
			}
		}
		s.settle()
		if err := errors.Join(s.liveRuns(), s.infrastructureChangedImage, s.actionsToldTheTruth()); err != nil {
			rt.Fatal(err)
		}
		before := s.platform(s.tags["live"])
		s.end(s.infrastructure())
		if after := s.platform(s.stable.digest); after != before {
			rt.Fatalf("a deploy of the infrastructure changed the image from %v to %v", s.tagsOf(before), s.tagsOf(after))
		}
	})
}

// step is one thing that happens. Those that call the function are interrupted by others before some of its calls to AWS.
type step struct {
	What       string
	Which      int // image, deployment, event or run, of as many as there are
	Interrupts []interrupt
}

type interrupt struct {
	BeforeCall int
	What       string
	Which      int
}

var (
	whats = rapid.SampledFrom([]string{
		"release", "infrastructure", "rollback to a revision", "rollback to a task definition",
		"complete", "complete", "complete", "complete and announce", "roll back", "event", "event", "all events", "doubled event", "poll",
	})
	steps = rapid.Custom(func(t *rapid.T) step {
		return step{whats.Draw(t, "what"), rapid.IntRange(0, 99).Draw(t, "which"), rapid.SliceOfN(interrupts, 0, 3).Draw(t, "interrupts")}
	})
	interrupts = rapid.Custom(func(t *rapid.T) interrupt {
		return interrupt{rapid.IntRange(0, 15).Draw(t, "before call"), whats.Draw(t, "what"), rapid.IntRange(0, 99).Draw(t, "which")}
	})
)

// sequence is a world to which steps happen.
type sequence struct {
	*world
	runs []*sequenceRun

	// expected is what a deploy of the infrastructure must run; only of those that began when all was known.
	expected                   map[*deployment]string
	infrastructureChangedImage error
}

type sequenceRun struct {
	*run
	deployment *deployment
	busy       bool // a call of the function for it has not ended
}

func (s *sequence) play(step step) {
	switch step.What {
	case "release":
		tag := "sha-" + strconv.Itoa(step.Which%5)
		if s.tags[tag] == "" {
			s.push(tag)
		}
		r := &sequenceRun{run: s.startRun(tag), deployment: s.release(tag)}
		s.runs = append(s.runs, r)
		s.interrupted(step, func() { s.poll(r) }) // CodePipeline calls when the stage begins
	case "infrastructure":
		known, runs := s.liveRuns() == nil, s.platform(s.stable.digest)
		if d := s.infrastructure(); known {
			s.expected[d] = runs
		}
	case "rollback to a revision":
		s.redeploy(s.deployments[step.Which%len(s.deployments)].target)
	case "rollback to a task definition":
		s.update(step.Which % len(s.definitions))
	case "complete":
		s.end(s.current())
	case "complete and announce":
		s.end(s.current())
		s.allEvents()
	case "roll back":
		if d := s.current(); d != nil && d.status == types.ServiceDeploymentStatusInProgress {
			s.rollBack(d, breaker)
		}
	case "event":
		if n := len(s.announced); n > 0 {
			s.interrupted(step, func() { s.event(step.Which % len(s.announced)) })
		}
	case "all events":
		s.interrupted(step, s.allEvents)
	case "doubled event":
		if n := len(s.announced); n > 0 {
			s.announced = append(s.announced, s.announced[step.Which%n])
		}
	case "poll":
		if n := len(s.runs); n > 0 {
			s.interrupted(step, func() { s.poll(s.runs[step.Which%n]) })
		}
	}
}

func (s *sequence) interrupted(by step, call func()) {
	n := 0
	s.before = func(string) {
		for _, i := range by.Interrupts {
			if i.BeforeCall == n {
				s.play(step{What: i.What, Which: i.Which})
			}
		}
		n++
	}
	call()
	s.before = nil
}

func (s *sequence) allEvents() {
	for n := len(s.announced); n > 0 && len(s.announced) > 0; n-- {
		s.event(0)
	}
}

// event delivers one. Lambda calls again, later, when the function could not cope.
func (s *sequence) event(i int) {
	e := s.announced[i]
	if err := s.deliverOne(i); err != nil {
		s.announced = append(s.announced, e)
	}
}

func (s *sequence) poll(r *sequenceRun) {
	if !r.ended() && !r.busy {
		r.busy = true
		r.run.poll()
		r.busy = false
	}
}

// end completes a deployment, or the rollback in which it is.
func (s *sequence) end(d *deployment) {
	switch {
	case d == nil:
		return
	case d.status == types.ServiceDeploymentStatusRollbackInProgress:
		s.rolledBack(d)
	default:
		s.complete(d)
		if want, ok := s.expected[d]; ok && s.platform(d.target.digest) != want {
			s.infrastructureChangedImage = errors.Join(s.infrastructureChangedImage,
				fmt.Errorf("%s changed the image from %v to %v", lastPart(d.arn), s.tagsOf(want), s.tagsOf(d.target.digest)))
		}
	}
}

// settle lets everything come to its end.
func (s *sequence) settle() {
	s.before = nil
	s.end(s.current())
	s.deliver()
	for _, r := range s.runs {
		for !r.ended() {
			r.run.poll()
		}
	}
}

// actionsToldTheTruth compares how the Release actions ended with what became of the deployments of their images. There may
// be several: nothing tells a run's own from one by hand, of the same image and at the same time.
func (s *sequence) actionsToldTheTruth() error {
	for _, r := range s.runs {
		ends := map[bool]bool{}
		for _, d := range s.deployments {
			if s.definitions[d.target.definition].image == r.image && !d.created.Before(r.deployment.created.Add(-2*slack)) {
				ends[d.status == types.ServiceDeploymentStatusSuccessful] = true
			}
		}
		if succeeded := r.failure == ""; !ends[succeeded] {
			return fmt.Errorf("%s of %s is %s, but its action ended with %+v", lastPart(r.deployment.arn), r.image, r.deployment.status, r.result)
		}
	}
	return nil
}
