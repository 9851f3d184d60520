package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/golden"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// fakeStacks is CloudFormation with stacks as they are deployed, and recorded answers about one change set.
type fakeStacks struct {
	deployed  map[string]assembly.Template
	protected bool // the stacks against termination
	review    bool // the stacks are only to be created
	changeSet assembly.Template
	pages     []json.RawMessage
	asked     []cloudformation.DescribeChangeSetInput
	role      string // with which the stacks are read
	fault     error  // of DescribeStacks
}

func (f *fakeStacks) DescribeStacks(_ context.Context, in *cloudformation.DescribeStacksInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error) {
	if f.fault != nil {
		return nil, f.fault
	}
	status := types.StackStatusUpdateComplete
	if f.review {
		status = types.StackStatusReviewInProgress
	} else if f.deployed[*in.StackName] == nil {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "Stack with id " + *in.StackName + " does not exist"}
	}
	return &cloudformation.DescribeStacksOutput{Stacks: []types.Stack{{
		StackName: in.StackName, StackStatus: status, EnableTerminationProtection: aws.Bool(f.protected),
	}}}, nil
}

func (f *fakeStacks) GetTemplate(_ context.Context, in *cloudformation.GetTemplateInput, _ ...func(*cloudformation.Options)) (*cloudformation.GetTemplateOutput, error) {
	template := f.deployed[*in.StackName]
	if in.ChangeSetName != nil {
		template = f.changeSet
	}
	if template == nil || f.review {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "there is no template"}
	}
	body, err := json.Marshal(template)
	return &cloudformation.GetTemplateOutput{TemplateBody: aws.String(string(body))}, err
}

func (f *fakeStacks) DescribeChangeSet(_ context.Context, in *cloudformation.DescribeChangeSetInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeChangeSetOutput, error) {
	f.asked = append(f.asked, *in)
	if len(f.pages) == 0 {
		return nil, &types.ChangeSetNotFoundException{Message: aws.String("ChangeSet [" + *in.ChangeSetName + "] does not exist")}
	}
	var out cloudformation.DescribeChangeSetOutput
	err := json.Unmarshal(f.pages[0], &out)
	f.pages = f.pages[1:]
	return &out, err
}

func (f *fakeStacks) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: aws.String("111111111111"), Arn: aws.String("arn:aws:iam::111111111111:user/ada")}, nil
}

// recorded returns a file's answers of DescribeChangeSet.
func recorded(t *testing.T, name string) []json.RawMessage {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(golden.Root, "cmd", "infra", "testdata", "changesets", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []json.RawMessage
	if err := json.Unmarshal(data, &pages); err != nil {
		t.Fatal(err)
	}
	return pages
}

// guardWorld is where the guard runs in tests: in a folder with config/prod.yaml, and with CloudFormation as given.
func guardWorld(t *testing.T, api *fakeStacks, more string) world {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join(golden.Root, configDir, "prod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(write(t, map[string]string{"config/prod.yaml": string(shipped) + more}))
	clock := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	return world{
		connect: func(context.Context, string, string) (cloud, error) { return cloud{identity: api, stacks: api}, nil },
		assume: func(_ context.Context, region, role string) (stackReader, error) {
			if region != "us-east-1" || role != lookupRole {
				return nil, fmt.Errorf("region %s, role %s", region, role)
			}
			api.role = role
			return api, nil
		},
		wait: func(ctx context.Context, d time.Duration) error {
			clock = clock.Add(d)
			return ctx.Err()
		},
		now:     func() time.Time { return clock },
		compare: compare,
	}
}

func compareIn(dir string) func(context.Context, []pair) ([]templateDiff, error) {
	return func(ctx context.Context, pairs []pair) ([]templateDiff, error) {
		return compareTemplates(ctx, dir, pairs)
	}
}

const lookupRole = "arn:aws:iam::111111111111:role/cdk-hnb659fds-lookup-role-111111111111-us-east-1"

func runGuard(w world, args ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	code = runIn(w, append([]string{"guard"}, args...), strings.NewReader(""), &out, &problems)
	return code, out.String(), problems.String()
}

func askChangeSet(w world, stack string, more ...string) (code int, stdout, stderr string) {
	return runGuard(w, append([]string{"--env", "prod", "--stack", "flask-app-prod-" + stack, "--change-set", "PipelineChange", "--role-arn", lookupRole}, more...)...)
}

func decodeVerdict(t *testing.T, text string) verdict {
	t.Helper()
	var v verdict
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

var changeSetCases = []struct {
	file, stack   string
	before, after []golden.Edit
	want          []string
}{
	{file: "range", stack: "network", after: golden.Edits(golden.Set(golden.VPC+".Properties.CidrBlock", "10.9.0.0/16")), want: []string{
		"replacement: " + golden.VPC + ".CidrBlock",
		"replacement: NetworkPrivateSubnet1SubnetC4D46731.VpcId", "replacement: NetworkPrivateSubnet2SubnetB345BF84.VpcId",
		"replacement: NetworkPublicSubnet1Subnet5B78347B.VpcId", "replacement: NetworkPublicSubnet2SubnetC3758C96.VpcId",
	}},
	// CloudFormation calls it conditional, since it does not follow the reference: the VPC stays, and so do its subnets.
	{file: "tags", stack: "network", after: golden.Edits(golden.Set(golden.VPC+".Properties.Tags", []any{}))},
	{file: "major-upgrade", stack: "data", before: golden.Edits(golden.Set(golden.Parameters+".Properties.Family", "mysql8.0"), golden.Set(golden.Database+".Properties.EngineVersion", "8.0")),
		after: golden.Edits(golden.Set(golden.Database+".Properties.AllowMajorVersionUpgrade", true))},
	{file: "subnet-group", stack: "data", after: golden.Edits(golden.Set(golden.SubnetGroup+".Properties.DBSubnetGroupName", "private")),
		want: []string{"replacement: " + golden.Database + ".DBSubnetGroupName", "secret attachment: " + golden.Attachment + ".TargetId"}},
	{file: "engine", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.Engine", "mariadb")), want: []string{"replacement: " + golden.Database + ".Engine"}},
	{file: "larger", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.MultiAZ", false),
		golden.Set(golden.Database+".Properties.DBInstanceClass", "db.m7g.large"), golden.Set(golden.Database+".Properties.AllocatedStorage", "200"))},
	{file: "password-length", stack: "data", after: golden.Edits(golden.Set(golden.Credentials+".Properties.GenerateSecretString.PasswordLength", 40)),
		want: []string{"secret value: " + golden.Credentials + ".GenerateSecretString"}},
	{file: "retained-bucket", stack: "data", after: golden.Edits(golden.Remove(golden.Bucket)), want: []string{"deletion: " + golden.Bucket + ".Resource"}},
	{file: "policies", stack: "data", after: golden.Edits(golden.Set(golden.Database+".DeletionPolicy", "Delete")), want: []string{"protection: " + golden.Database + ".DeletionPolicy"}},
	{file: "parameter", stack: "data", before: golden.Edits(golden.Set(golden.Database+".Properties.DeletionProtection", map[string]any{"Ref": "Protected"})),
		after: golden.Edits(golden.Set(golden.Database+".Properties.DeletionProtection", map[string]any{"Ref": "Protected"})),
		want:  []string{"protection: " + golden.Database + ".DeletionProtection"}},
	{file: "unexplained", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.MultiAZ", false)), want: []string{"replacement: " + golden.Database + ".Resource"}},
	{file: "undecided", stack: "data", want: []string{"replacement: " + golden.Bucket + ".Resource"}},
	{file: "condition", stack: "data", after: golden.Edits(golden.Set(golden.Bucket+".Condition", "Kept")), want: []string{"replacement: " + golden.Bucket + ".Resource"}},
	{file: "attribute", stack: "data"},
	{file: "in-progress", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DBInstanceClass", "db.m7g.large"))},
	{file: "no-changes", stack: "data"},
}

func TestGuardJudgesChangeSets(t *testing.T) {
	for _, test := range changeSetCases {
		t.Run(test.file, func(t *testing.T) {
			pages := recorded(t, test.file)
			api := &fakeStacks{
				deployed:  map[string]assembly.Template{"flask-app-prod-" + test.stack: golden.Template(t, "prod", test.stack, test.before...)},
				changeSet: golden.Template(t, "prod", test.stack, test.after...),
				pages:     pages,
			}
			code, stdout, stderr := askChangeSet(guardWorld(t, api, ""), test.stack, "--json")
			if want := min(1, len(test.want)); code != want {
				t.Errorf("exit code %d, want %d; stderr: %s", code, want, stderr)
			}
			v := decodeVerdict(t, stdout)
			if diff := cmp.Diff(append([]string{}, test.want...), brief(v.Stopped)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if api.role != lookupRole {
				t.Errorf("read as the role %q", api.role)
			}
			if len(api.asked) != len(pages) {
				t.Errorf("%d calls of DescribeChangeSet, want %d", len(api.asked), len(pages))
			}
			for _, in := range api.asked {
				if !aws.ToBool(in.IncludePropertyValues) {
					t.Error("asked without the values of properties")
				}
			}
		})
	}
}

// An entry that a developer got without an account must hold in the pipeline.
func TestGuardGivesAChangeTheSameHashInEveryWay(t *testing.T) {
	var files []string
	var pairs []pair
	var fromChangeSet [][]resourceChange
	for _, test := range changeSetCases {
		switch test.file {
		case "parameter", "unexplained", "undecided", "condition", "policies", "no-changes", "in-progress", "engine":
			continue // what templates do not tell; engine is recorded without the attachment
		}
		p := pair{Stack: "flask-app-prod-" + test.stack, Old: golden.Template(t, "prod", test.stack, test.before...), New: golden.Template(t, "prod", test.stack, test.after...)}
		api := &fakeStacks{deployed: map[string]assembly.Template{p.Stack: p.Old}, changeSet: p.New, pages: recorded(t, test.file)}
		changes, err := changesOfChangeSet(t.Context(), world{now: time.Now}, api, p.Stack, "PipelineChange", io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		files, pairs, fromChangeSet = append(files, test.file), append(pairs, p), append(fromChangeSet, changes)
	}
	diffs, err := compare(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	hashes := func(changes []resourceChange) map[string]string {
		found := map[string]string{}
		for _, f := range judge(changes) {
			found[f.LogicalID+"."+f.Property] = f.Hash
		}
		return found
	}
	same := 0
	for i, p := range pairs {
		fromTemplates, err := changesOfPair(p, diffs[i])
		if err != nil {
			t.Fatal(err)
		}
		a, b := hashes(fromChangeSet[i]), hashes(fromTemplates)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s (-change set +templates):\n%s", files[i], diff)
		}
		same += len(a)
	}
	if same < 5 {
		t.Errorf("only %d hashes were compared", same)
	}
}

// CloudFormation may also call a reference a change of the property itself, whose value it does not know yet.
func TestGuardReadsTheDetailsOfAPropertyInAnyOrder(t *testing.T) {
	for _, test := range changeSetCases {
		var out cloudformation.DescribeChangeSetOutput
		if err := json.Unmarshal(recorded(t, test.file)[0], &out); err != nil {
			t.Fatal(err)
		}
		p := pair{Stack: test.stack, Old: golden.Template(t, "prod", test.stack, test.before...), New: golden.Template(t, "prod", test.stack, test.after...)}
		var once, twice []types.ResourceChange
		for _, change := range out.Changes {
			once = append(once, *change.ResourceChange)
			more := *change.ResourceChange
			more.Details = nil
			for _, d := range change.ResourceChange.Details {
				if d.ChangeSource == types.ChangeSourceResourceReference {
					direct := d
					direct.ChangeSource, direct.CausingEntity = types.ChangeSourceDirectModification, nil
					more.Details = append(more.Details, direct)
				}
				more.Details = append(more.Details, d)
			}
			twice = append(twice, more)
		}
		want, err := changesOf(p, once)
		if err != nil {
			t.Fatal(err)
		}
		got, err := changesOf(p, twice)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(judge(want), judge(got)); diff != "" {
			t.Errorf("%s (-without +with the detail):\n%s", test.file, diff)
		}
	}
}

func TestGuardSaysWhenItCannotTell(t *testing.T) {
	for name, test := range map[string]struct {
		api  *fakeStacks
		want string
	}{
		"failed":   {&fakeStacks{pages: recorded(t, "failed")}, "its status is FAILED, not CREATE_COMPLETE: Export flask-app-prod-network"},
		"missing":  {&fakeStacks{}, "change set PipelineChange of stack flask-app-prod-data: it does not exist"},
		"too slow": {&fakeStacks{pages: slow(t)}, "it is still CREATE_PENDING after 10m0s"},
		"refused": {&fakeStacks{pages: recorded(t, "creation"), fault: &smithy.GenericAPIError{Code: "AccessDenied", Message: "is not authorized"}},
			"look for stack flask-app-prod-data: api error AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := guardWorld(t, test.api, "")
			code, stdout, stderr := askChangeSet(w, "data", "--json")
			if code != 2 || !strings.Contains(stderr, test.want) || !strings.Contains(stdout, `"verdict": "unknown"`) {
				t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
			}
		})
	}
}

// CodePipeline may remove a change set that has no changes.
func TestGuardPassesWhereThereIsNothingToExecute(t *testing.T) {
	w := guardWorld(t, &fakeStacks{deployed: map[string]assembly.Template{"flask-app-prod-data": {"Resources": map[string]any{}}}}, "")
	code, stdout, stderr := askChangeSet(w, "data")
	if code != 0 || !strings.Contains(stderr, "it does not exist") || !strings.Contains(stderr, "there is nothing to execute") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// slow returns the answers about a change set that is never there.
func slow(t *testing.T) []json.RawMessage {
	t.Helper()
	var pages []json.RawMessage
	for range 300 {
		pages = append(pages, recorded(t, "in-progress")[0])
	}
	return pages
}

func TestGuardLetsAStackBeCreated(t *testing.T) {
	api := &fakeStacks{review: true, pages: recorded(t, "creation")}
	if code, stdout, stderr := askChangeSet(guardWorld(t, api, ""), "data"); code != 0 || !strings.HasPrefix(stdout, "FINE environment prod") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}
