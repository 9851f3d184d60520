// Package nag writes down beside a construct why a finding of cdk-nag is right there, as metadata of the resource. cdk-nag
// itself runs in the tests only (stacks/nag_test.go), since it costs time; they also fail on a reason without a finding.
package nag

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// Finding is one finding, and why it is right.
type Finding struct {
	Rule   string // as in AwsSolutions-S1
	Part   string // what the rule names in brackets, if it can find several things in one resource
	Reason string // for a security reviewer: why it is right here, or which key of the configuration changes it
}

// Accept writes the findings into the metadata of the resource of a construct. A second call replaces what the first wrote.
func Accept(construct constructs.IConstruct, findings ...Finding) {
	if len(findings) == 0 {
		return
	}
	resource, ok := construct.(awscdk.CfnResource)
	if !ok {
		resource = construct.Node().DefaultChild().(awscdk.CfnResource)
	}
	resource.AddMetadata(jsii.String("cdk_nag"), map[string]any{"rules_to_suppress": metadata(findings)})
}

// metadata is the form that cdk-nag reads.
func metadata(findings []Finding) []any {
	var rules []any
	for _, finding := range findings {
		rule := map[string]any{"id": finding.Rule, "reason": finding.Reason}
		if finding.Part != "" {
			rule["applies_to"] = []string{finding.Part}
		}
		rules = append(rules, rule)
	}
	return rules
}
