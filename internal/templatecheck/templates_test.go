package templatecheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/templatecheck"
)

var twoStacks = map[string][]byte{
	"data": []byte(`{
		"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Metadata": {"aws:cdk:path": "dev/Data/Bucket/Resource"}}},
		"Outputs": {
			"Exported": {"Value": {"Fn::GetAtt": ["Bucket", "Arn"]}, "Export": {"Name": "dev-bucket"}},
			"BucketName": {"Value": {"Ref": "Bucket"}}
		},
		"Parameters": {"BootstrapVersion": {"Type": "String"}}}`),
	"service": []byte(`{
		"Resources": {"Role": {"Type": "AWS::IAM::Role", "DependsOn": ["Logs"], "Properties": {
			"Imported": {"Fn::ImportValue": "dev-bucket"},
			"Own": {"Ref": "Logs"},
			"Pseudo": {"Ref": "AWS::Region"},
			"Text": {"Fn::Sub": "${Logs.Arn}:* in ${AWS::Region}"},
			"Joined": {"Fn::Join": ["/", [{"Fn::ImportValue": "dev-bucket"}, "*"]]}
		}}}}`),
}

func TestDecode(t *testing.T) {
	env, err := templatecheck.Decode(twoStacks, "data", "service")
	if err != nil {
		t.Fatal(err)
	}
	role := env.One(t, "AWS::IAM::Role")
	t.Run("resolves what another stack exports", func(t *testing.T) {
		if got := templatecheck.Readable(role.Properties["Imported"]); got != "${data.Bucket.Arn}" {
			t.Errorf("the import is %v", got)
		}
		if got := templatecheck.Readable(role.Properties["Joined"]); got != "${data.Bucket.Arn}/*" {
			t.Errorf("the joined import is %v", got)
		}
	})
	t.Run("names the stack in references of its own", func(t *testing.T) {
		want := map[string]any{"Own": "${service.Logs}", "Pseudo": "${AWS::Region}", "Text": "${service.Logs.Arn}:* in ${AWS::Region}"}
		for name, wanted := range want {
			if got := templatecheck.Readable(role.Properties[name]); got != wanted {
				t.Errorf("%s is %v, want %v", name, got, wanted)
			}
		}
		if got := templatecheck.References(role.Properties["Text"]); !slices.Equal(got, []string{"service.Logs"}) {
			t.Errorf("the text refers to %q", got)
		}
		if !slices.Equal(role.DependsOn, []string{"service.Logs"}) {
			t.Errorf("the role depends on %q", role.DependsOn)
		}
	})
	t.Run("finds a resource by the end of its path", func(t *testing.T) {
		if got := env.ByPath(t, "Data/Bucket/Resource"); got.ID != "data.Bucket" || templatecheck.Path(got) != "Data/Bucket/Resource" {
			t.Errorf("found %s at %s", got.ID, templatecheck.Path(got))
		}
	})
	t.Run("keeps outputs apart from exports", func(t *testing.T) {
		if diff := cmp.Diff(map[string]any{"data.BucketName": map[string]any{"Ref": "data.Bucket"}}, env.Outputs); diff != "" {
			t.Errorf("outputs (-want +got)\n%s", diff)
		}
	})
	t.Run("keeps the other sections", func(t *testing.T) {
		if env.Sections["data.Parameters"] == nil || env.Sections["data.Outputs"] == nil || env.Sections["data.Resources"] != nil {
			t.Errorf("sections %v", env.Sections)
		}
	})
	t.Run("refuses a template that is missing", func(t *testing.T) {
		if _, err := templatecheck.Decode(twoStacks, "data", "pipeline"); err == nil || !strings.Contains(err.Error(), "the template of pipeline: ") {
			t.Errorf("error %v", err)
		}
	})
}
