//go:build lint

package stacks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

// cfn-lint's opinion of every template: zero errors and warnings. What it finds is mended or accepted: beside the construct, as
// cfn-lint's own metadata, or in the table below. What is accepted and not found fails.

// acceptedEverywhere are findings of one kind at many resources. Each entry must be found.
var acceptedEverywhere = []struct {
	rule    string
	message *regexp.Regexp
	reason  string
}{
	{"W3005", regexp.MustCompile(`^'\w*Role\w*' dependency already enforced by a 'GetAtt' at 'Resources/\w+/Properties/Role(Arn)?'$`),
		"The library makes a function, a state machine or a pipeline wait for its role and all its policies. The first half of that is said twice, which is harmless."},
	{"W3005", regexp.MustCompile(`^'\w+' dependency already enforced by a 'Ref' at 'Resources/\w+/Properties/LoadBalancers/0/TargetGroupArn'$`),
		"The library makes the service wait for its target group and the listener. The first half of that is said twice, which is harmless."},
}

func TestLintFindsNothingThatIsNotAccepted(t *testing.T) {
	var templates []string
	for _, name := range slices.Sorted(maps.Keys(reviewed(t))) {
		if strings.HasSuffix(name, " delivered") {
			continue // the same templates, to the byte
		}
		out := filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "-"))
		context := inPlace(t)
		app := awscdk.NewApp(&awscdk.AppProps{
			Outdir: jsii.String(out), Context: &context, StackTraces: jsii.Bool(false), AnalyticsReporting: jsii.Bool(false),
		})
		reviewed(t)[name](app)
		app.Synth(nil)
		templates = append(templates, matches(t, filepath.Join(out, "*.template.json"))...)
		templates = append(templates, matches(t, filepath.Join(out, "assembly-*", "*.template.json"))...)
	}
	l := runLint(t, templates...)
	for _, fault := range append(l.open, l.stale()...) {
		t.Error(fault)
	}
	for _, kind := range acceptedEverywhere {
		if l.kinds[kind.message] == 0 {
			t.Errorf("%s %s is accepted everywhere, but found nowhere: remove it from the table", kind.rule, kind.message)
		}
	}
	everywhere := 0
	for _, count := range l.kinds {
		everywhere += count
	}
	t.Logf("figure: cfn-lint: %d templates, %d findings accepted beside their construct, %d by the table", len(templates), len(l.accepted), everywhere)
}

func TestAFindingOfLintIsNoticed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broken.template.json")
	body := `{"Resources": {
		"Wrong": {"Type": "AWS::S3::Bucket", "Properties": {"BucketNam": "x"}, "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["E3691"]}}}},
		"Accepted": {"Type": "AWS::S3::Bucket", "Properties": {"BucketNam": "x"}, "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["E3002"]}}}}}}`
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	l := runLint(t, file)
	if len(l.open) != 1 || !strings.Contains(l.open[0], "broken.template.json: Wrong: E3002: ") {
		t.Errorf("found: %q", l.open)
	}
	if stale := l.stale(); len(stale) != 1 || !strings.Contains(stale[0], "broken.template.json: Wrong: E3691 ") {
		t.Errorf("stale: %q", stale)
	}
}

// lint is what cfn-lint says of templates.
type lint struct {
	open     []string
	accepted map[string]int         // how often each is found that a template accepts, as "file: resource: rule"
	kinds    map[*regexp.Regexp]int // how often each of acceptedEverywhere is found
}

func (l lint) stale() []string {
	var faults []string
	for _, accepted := range slices.Sorted(maps.Keys(l.accepted)) {
		if l.accepted[accepted] == 0 {
			faults = append(faults, accepted+" is accepted in the resource's metadata, but not found: remove it there")
		}
	}
	return faults
}

func runLint(t *testing.T, templates ...string) lint {
	t.Helper()
	l := lint{accepted: map[string]int{}, kinds: map[*regexp.Regexp]int{}}
	for _, file := range templates {
		var template struct {
			Resources map[string]struct {
				Metadata struct {
					Lint struct {
						Config struct {
							Ignore []string `json:"ignore_checks"`
						} `json:"config"`
					} `json:"cfn-lint"`
				}
			}
		}
		readJSON(t, file, &template)
		for id, resource := range template.Resources {
			for _, rule := range resource.Metadata.Lint.Config.Ignore {
				l.accepted[place(file, id)+rule] = 0
			}
		}
	}

	// All rules are mandatory: it then says what the metadata accepts, too. It needs no network, and would get none.
	command := exec.CommandContext(t.Context(), filepath.Join(".local", "lint", "bin", "cfn-lint"),
		append([]string{"--mandatory-checks", "E", "W", "--format", "json", "--"}, templates...)...)
	command.Env = append(os.Environ(), "HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output() // with findings it ends with a code of its own
	var findings []struct {
		Filename, Message string
		Location          struct{ Path []any }
		Rule              struct{ ID string }
	}
	if jsonErr := json.Unmarshal(output, &findings); jsonErr != nil {
		t.Fatalf("cfn-lint: %v, %v, run it by `make lint-templates`\n%s", err, jsonErr, &stderr)
	}
	for _, finding := range findings {
		resource := "the template"
		if path := finding.Location.Path; len(path) > 1 {
			resource = fmt.Sprint(path[1])
		}
		at := place(finding.Filename, resource) + finding.Rule.ID
		if _, ok := l.accepted[at]; ok {
			l.accepted[at]++
			continue
		}
		if kind := kindOf(finding.Rule.ID, finding.Message); kind != nil {
			l.kinds[kind]++
			continue
		}
		l.open = append(l.open, fmt.Sprintf("%s: %s %v", at, finding.Message, finding.Location.Path))
	}
	return l
}

// kindOf returns the message of the entry of [acceptedEverywhere] that a finding belongs to, or nil.
func kindOf(rule, message string) *regexp.Regexp {
	for _, kind := range acceptedEverywhere {
		if kind.rule == rule && kind.message.MatchString(message) {
			return kind.message
		}
	}
	return nil
}

func place(file, resource string) string {
	return filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file) + ": " + resource + ": "
}
