package guard_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/guard"
	"flask-on-fargate/internal/test/golden"
)

// changeSetCase is a change set whose answers are recorded in internal/change/testdata.
type changeSetCase struct {
	file, stack   string
	before, after []golden.Edit // of the golden template
	want          []string
}

func (c changeSetCase) pair(t *testing.T) change.Pair {
	t.Helper()
	return change.Pair{Stack: "flask-app-prod-" + c.stack, Old: golden.Template(t, "prod", c.stack, c.before...), New: golden.Template(t, "prod", c.stack, c.after...)}
}

// changes returns what CloudFormation says in its answers, and the requests.
func (c changeSetCase) changes(t *testing.T, pages []json.RawMessage) ([]change.Resource, []cloudformation.DescribeChangeSetInput) {
	t.Helper()
	p, now := c.pair(t), time.Now()
	api := &golden.Stacks{Deployed: map[string]assembly.Template{p.Stack: p.Old}, ChangeSet: p.New, Pages: pages}
	changes, note, err := change.OfChangeSet(t.Context(), clock.Manual(&now), api, change.ChangeSet{Stack: p.Stack, Name: "PipelineChange"})
	if err != nil || note != "" {
		t.Fatal(note, err)
	}
	return changes, api.Asked
}

var changeSetCases = []changeSetCase{
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

func TestJudgeChangeSets(t *testing.T) {
	for _, test := range changeSetCases {
		t.Run(test.file, func(t *testing.T) {
			pages := golden.Recorded(t, test.file)
			changes, asked := test.changes(t, pages)
			if diff := cmp.Diff(append([]string{}, test.want...), brief(guard.Judge(changes))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(asked) != len(pages) {
				t.Errorf("%d calls of DescribeChangeSet, want %d", len(asked), len(pages))
			}
			for _, in := range asked {
				if !aws.ToBool(in.IncludePropertyValues) {
					t.Error("asked without the values of properties")
				}
			}
		})
	}
}

// An allowance that a developer got without an account must hold in the pipeline.
func TestHashIsTheSameInEveryWay(t *testing.T) {
	var files []string
	var pairs []change.Pair
	var fromChangeSet [][]change.Resource
	for _, test := range changeSetCases {
		switch test.file {
		case "parameter", "unexplained", "undecided", "condition", "policies", "no-changes", "in-progress", "engine":
			continue // what templates do not tell; engine is recorded without the attachment
		}
		changes, _ := test.changes(t, golden.Recorded(t, test.file))
		files, pairs, fromChangeSet = append(files, test.file), append(pairs, test.pair(t)), append(fromChangeSet, changes)
	}
	diffs, err := compare(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	hashes := func(changes []change.Resource) map[string]string {
		found := map[string]string{}
		for _, f := range guard.Judge(changes) {
			found[f.LogicalID+"."+f.Property] = f.Hash
		}
		return found
	}
	same := 0
	for i, p := range pairs {
		fromTemplates, err := change.OfPair(p, diffs[i])
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
func TestDetailsOfAPropertyInAnyOrder(t *testing.T) {
	for _, test := range changeSetCases {
		pages := golden.Recorded(t, test.file)
		want, _ := test.changes(t, pages)
		got, _ := test.changes(t, withDirectDetails(t, pages))
		if diff := cmp.Diff(guard.Judge(want), guard.Judge(got)); diff != "" {
			t.Errorf("%s (-without +with the detail):\n%s", test.file, diff)
		}
	}
}

// withDirectDetails puts a detail of the property itself before each detail of a reference.
func withDirectDetails(t *testing.T, pages []json.RawMessage) []json.RawMessage {
	t.Helper()
	var twice []json.RawMessage
	for _, page := range pages {
		var out cloudformation.DescribeChangeSetOutput
		if err := json.Unmarshal(page, &out); err != nil {
			t.Fatal(err)
		}
		for _, listed := range out.Changes {
			var details []types.ResourceChangeDetail
			for _, d := range listed.ResourceChange.Details {
				if d.ChangeSource == types.ChangeSourceResourceReference {
					direct := d
					direct.ChangeSource, direct.CausingEntity = types.ChangeSourceDirectModification, nil
					details = append(details, direct)
				}
				details = append(details, d)
			}
			listed.ResourceChange.Details = details
		}
		data, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		twice = append(twice, data)
	}
	return twice
}
