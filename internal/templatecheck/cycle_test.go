package templatecheck_test

import (
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

func TestCycleFinds(t *testing.T) {
	env := templatecheck.Templates{Resources: map[string]templatecheck.Resource{
		"a": {ID: "a", Properties: map[string]any{"X": map[string]any{"Ref": "b"}}},
		"b": {ID: "b", DependsOn: []string{"c"}},
		"c": {ID: "c", Properties: map[string]any{"Y": []any{map[string]any{"Fn::GetAtt": []any{"a", "Arn"}}}}},
	}}
	if templatecheck.Cycle(env) == nil {
		t.Error("a → b → c → a was not found")
	}
	if cycle := templatecheck.Cycle(decode(t, "dev")); cycle != nil {
		t.Errorf("without a cycle: %q", cycle)
	}
}
