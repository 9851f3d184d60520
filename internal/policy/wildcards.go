package policy

import (
	"encoding/json"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"

	"flask-on-fargate/internal/nag"
)

// wildcards are the findings of cdk-nag's rule IAM5 in statements that have a reason: one for each action and each resource
// with a wildcard, however many statements have it.
func wildcards(scope constructs.IConstruct, statements []Statement) []nag.Finding {
	var parts []string
	reasons := map[string][]string{}
	add := func(part string, s Statement) {
		if reasons[part] == nil {
			parts = append(parts, part)
		}
		reasons[part] = append(reasons[part], strings.Join(s.actions, ", ")+": "+s.reason)
	}
	resolved := resolve(scope, statements)
	for _, s := range statements {
		if s.reason == "" {
			continue
		}
		for _, action := range s.actions {
			if strings.Contains(action, "*") {
				add("Action::"+action, s)
			}
		}
		for _, resource := range s.resources {
			if strings.Contains(resource, "*") {
				add("Resource::"+flatten(resolved[resource]), s)
			}
		}
	}
	var findings []nag.Finding
	for _, part := range parts {
		findings = append(findings, nag.Finding{Rule: "AwsSolutions-IAM5", Part: part, Reason: strings.Join(reasons[part], ". ")})
	}
	return findings
}

// resolve returns what each resource with a wildcard is in the template. One call for all: each takes about a millisecond.
func resolve(scope constructs.IConstruct, statements []Statement) map[string]any {
	resolved := map[string]any{}
	var tokens []string
	for _, s := range statements {
		for _, resource := range s.resources {
			if s.reason == "" || !strings.Contains(resource, "*") {
				continue
			}
			resolved[resource] = resource
			if strings.Contains(resource, "${Token[") {
				tokens = append(tokens, resource)
			}
		}
	}
	if len(tokens) > 0 {
		for i, value := range awscdk.Stack_Of(scope).Resolve(tokens).([]any) {
			resolved[tokens[i]] = value
		}
	}
	return resolved
}

// flatten writes a value of a template as cdk-nag does: <Bucket.Arn>/* for the objects of a bucket.
func flatten(value any) string {
	switch value := value.(type) {
	case string:
		return strings.NewReplacer("${", "<", "}", ">").Replace(value)
	case map[string]any:
		if reference, ok := value["Ref"].(string); ok {
			return "<" + reference + ">"
		}
		if attribute, ok := value["Fn::GetAtt"].([]any); ok {
			return "<" + flatten(attribute[0]) + "." + flatten(attribute[1]) + ">"
		}
		if join, ok := value["Fn::Join"].([]any); ok {
			var parts []string
			for _, part := range join[1].([]any) {
				parts = append(parts, flatten(part))
			}
			return strings.Join(parts, join[0].(string))
		}
	}
	body, _ := json.Marshal(value)
	return string(body)
}
