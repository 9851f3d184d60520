package templatecheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// CloudFormation's and the services' limits, https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxTemplate   = 1_000_000
	maxResources  = 500
	maxOutputs    = 200
	maxExportName = 255
)

// IAM's limits, in characters without whitespace. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxRolePolicy      = 10_240 // all inline policies of a role
	maxManagedPolicy   = 6_144
	maxTrustPolicy     = 2_048
	maxManagedPolicies = 10 // of a role
)

// MaxTaskDefinition is in bytes. https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
const MaxTaskDefinition = 64 * 1024

// maxLengths are of properties with a text that the configuration is part of.
var maxLengths = map[string]int{
	"LogGroupName": 512, "Family": 255, "GroupDescription": 255, "ConnectionName": 32, "Description": 256,
}

// Limits wants the templates to be within the limits of CloudFormation, IAM, ECS and the other services. bodies are the same templates as
// written, by stack.
func Limits(env Templates, bodies map[string][]byte) []string {
	var broken []string
	for _, stack := range slices.Sorted(maps.Keys(bodies)) {
		body := bodies[stack]
		var file struct {
			Resources map[string]any
			Outputs   map[string]struct{ Export struct{ Name string } }
		}
		if err := json.Unmarshal(body, &file); err != nil {
			return []string{err.Error()}
		}
		for what, n := range map[string][2]int{"bytes": {len(body), maxTemplate}, "resources": {len(file.Resources), maxResources}, "outputs": {len(file.Outputs), maxOutputs}} {
			if n[0] > n[1] {
				broken = append(broken, fmt.Sprintf("%s has %d %s, CloudFormation takes %d", stack, n[0], what, n[1]))
			}
		}
		for _, output := range file.Outputs {
			if len(output.Export.Name) > maxExportName {
				broken = append(broken, fmt.Sprintf("%s exports a name of %d characters: %s", stack, len(output.Export.Name), output.Export.Name))
			}
		}
	}
	for _, r := range env.Resources {
		for property, limit := range maxLengths {
			if value, _ := r.Properties[property].(string); len(value) > limit {
				broken = append(broken, fmt.Sprintf("%s: %s has %d characters, allowed are %d: %s", r.ID, property, len(value), limit, value))
			}
		}
		if size := len(Compact(r.Properties)); r.Type == "AWS::ECS::TaskDefinition" && size > MaxTaskDefinition {
			broken = append(broken, fmt.Sprintf("%s has %d bytes, ECS takes %d", r.ID, size, MaxTaskDefinition))
		}
	}
	return append(broken, checkRoleLimits(env)...)
}

// checkRoleLimits counts what IAM counts, wherever a template writes it.
func checkRoleLimits(env Templates) []string {
	var broken []string
	inline, managed := map[string]int{}, map[string]int{}
	limit := func(id string, n int, what string, most int) {
		if n > most {
			broken = append(broken, fmt.Sprintf("%s has %d %s, IAM takes %d", id, n, what, most))
		}
	}
	characters := func(document any) int {
		return utf8.RuneCountInString(strings.Join(strings.Fields(Compact(document)), ""))
	}
	for _, r := range env.Resources {
		size := characters(r.Properties["PolicyDocument"])
		switch r.Type {
		case "AWS::IAM::Policy":
			for _, role := range References(r.Properties["Roles"]) {
				inline[role] += size
			}
		case "AWS::IAM::RolePolicy":
			for _, role := range References(r.Properties["RoleName"]) {
				inline[role] += size
			}
		case "AWS::IAM::ManagedPolicy":
			limit(r.ID, size, "characters of a managed policy", maxManagedPolicy)
			for _, role := range References(r.Properties["Roles"]) {
				managed[role]++
			}
		case "AWS::IAM::Role":
			for _, policy := range List(r.Properties["Policies"]) {
				inline[r.ID] += characters(At(policy, "PolicyDocument"))
			}
			managed[r.ID] += len(List(r.Properties["ManagedPolicyArns"]))
			limit(r.ID, characters(r.Properties["AssumeRolePolicyDocument"]), "characters of a trust policy", maxTrustPolicy)
		}
	}
	for role, n := range inline {
		limit(role, n, "characters of inline policies", maxRolePolicy)
	}
	for role, n := range managed {
		limit(role, n, "managed policies", maxManagedPolicies)
	}
	return broken
}

// arnLength stands for what a reference becomes when it is deployed. The ARNs of this project's resources, with names of the longest
// project and environment and the suffix that CloudFormation adds, have about as many characters; names are shorter.
const arnLength = 120

// Compact is about the JSON that a service gets for node: each reference has the length of an ARN.
func Compact(node any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(deployed(node)); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// deployed replaces the functions of CloudFormation by texts of a likely length.
func deployed(node any) any {
	switch node := node.(type) {
	case []any:
		all := make([]any, len(node))
		for i := range node {
			all[i] = deployed(node[i])
		}
		return all
	case map[string]any:
		if template, ok := node["Fn::Sub"].(string); ok {
			return anyReference.ReplaceAllString(template, strings.Repeat("x", arnLength))
		}
		if join, ok := node["Fn::Join"].([]any); ok {
			var parts []string
			for _, part := range List(join[1]) {
				parts = append(parts, fmt.Sprint(deployed(part)))
			}
			return strings.Join(parts, join[0].(string))
		}
		all := map[string]any{}
		for key, value := range node {
			if key == "Ref" || strings.HasPrefix(key, "Fn::") {
				return strings.Repeat("x", arnLength)
			}
			all[key] = deployed(value)
		}
		return all
	}
	return node
}

var anyReference = regexp.MustCompile(`\$\{[^}]*\}`)
