package change_test

import (
	"testing"

	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/test/golden"
)

func TestHashTellsChangesApart(t *testing.T) {
	ref := map[string]any{"Ref": golden.VPC}
	p := func(name string, older, newer any, causes ...change.Cause) change.Property {
		return change.Property{Name: name, Old: older, New: newer, Causes: causes}
	}
	seen := map[string]string{}
	for name, hash := range map[string]string{
		"a change":                    p("CidrBlock", "10.0.0.0/16", "10.9.0.0/16").Hash(golden.VPC),
		"another resource":            p("CidrBlock", "10.0.0.0/16", "10.9.0.0/16").Hash(golden.Subnet),
		"another property":            p("Cidr", "10.0.0.0/16", "10.9.0.0/16").Hash(golden.VPC),
		"another old value":           p("CidrBlock", "10.1.0.0/16", "10.9.0.0/16").Hash(golden.VPC),
		"another new value":           p("CidrBlock", "10.0.0.0/16", "10.8.0.0/16").Hash(golden.VPC),
		"the way back":                p("CidrBlock", "10.9.0.0/16", "10.0.0.0/16").Hash(golden.VPC),
		"a reference":                 p("VpcId", ref, ref, change.Cause{LogicalID: golden.VPC, Property: "CidrBlock", New: "10.9.0.0/16"}).Hash(golden.Subnet),
		"the same of another cause":   p("VpcId", ref, ref, change.Cause{LogicalID: golden.VPC, Property: "CidrBlock", New: "10.8.0.0/16"}).Hash(golden.Subnet),
		"the same of another's cause": p("VpcId", ref, ref, change.Cause{LogicalID: golden.Subnet, Property: "CidrBlock", New: "10.9.0.0/16"}).Hash(golden.Subnet),
	} {
		if other, taken := seen[hash]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
	again := change.Property{Name: "CidrBlock", Old: "10.0.0.0/16", New: "10.9.0.0/16", Requires: change.Always, Certain: true}
	if seen[again.Hash(golden.VPC)] != "a change" {
		t.Error("the hash depends on how the change was found out")
	}
}
