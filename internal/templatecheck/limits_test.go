package templatecheck_test

import (
	"fmt"
	"strings"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

func TestLimitsFinds(t *testing.T) {
	golden := bodies(t, "dev")
	document := func(characters int) string {
		return fmt.Sprintf(`{"Statement": [{"Resource": "%s"}]}`, strings.Repeat("x", characters))
	}
	const role = `{"Ref": "data.Added"}`
	check := func(env templatecheck.Templates, _ config.Environment) []string {
		return templatecheck.Limits(env, golden)
	}
	wantNoticed(t, check, map[string]fault{
		"policy":              {add("AWS::IAM::Policy", `{"Roles": [`+role+`], "PolicyDocument": `+document(10_240)+`}`), "data.Added has 10271 characters of inline policies, IAM takes 10240"},
		"policy of a role":    {add("AWS::IAM::RolePolicy", `{"RoleName": `+role+`, "PolicyDocument": `+document(10_240)+`}`), "data.Added has 10271 characters of inline policies"},
		"policy in a role":    {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": `+document(10_240)+`}]}`), "data.Added has 10271 characters of inline policies"},
		"two inline policies": {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": `+document(6000)+`}, {"PolicyDocument": `+document(6000)+`}]}`), "data.Added has 12062 characters of inline policies"},
		"references":          {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": {"Statement": [{"Resource": [`+strings.Repeat(role+",", 99)+role+`]}]}}]}`), "data.Added has 12330 characters of inline policies"},
		"managed policy":      {add("AWS::IAM::ManagedPolicy", `{"PolicyDocument": `+document(6_144)+`}`), "data.Added has 6175 characters of a managed policy, IAM takes 6144"},
		"managed policies":    {add("AWS::IAM::Role", `{"ManagedPolicyArns": ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]}`), "data.Added has 11 managed policies, IAM takes 10"},
		"trust policy":        {add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": `+document(2_048)+`}`), "data.Added has 2079 characters of a trust policy, IAM takes 2048"},
		"task definition":     {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Name": "`+strings.Repeat("x", templatecheck.MaxTaskDefinition)+`"}]}`), "bytes, ECS takes 65536"},
		"group's name":        {add("AWS::Logs::LogGroup", `{"LogGroupName": "`+strings.Repeat("x", 513)+`"}`), "LogGroupName has 513 characters"},
	})
}

func TestLimitsFindsInATemplate(t *testing.T) {
	many := func(n int, entry string) string {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(`"Added%d": %s`, i, entry))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	}
	for name, test := range map[string]struct{ body, says string }{
		"bytes":     {`{"Description": "` + strings.Repeat("x", 1_000_000) + `"}`, "data has 1000019 bytes, CloudFormation takes 1000000"},
		"resources": {`{"Resources": ` + many(501, `{}`) + `}`, "data has 501 resources, CloudFormation takes 500"},
		"outputs":   {`{"Outputs": ` + many(201, `{}`) + `}`, "data has 201 outputs, CloudFormation takes 200"},
		"export":    {`{"Outputs": {"Added": {"Export": {"Name": "` + strings.Repeat("x", 256) + `"}}}}`, "data exports a name of 256 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			golden := bodies(t, "dev")
			golden["data"] = []byte(test.body)
			if broken := templatecheck.Limits(templatecheck.Templates{}, golden); len(broken) != 1 || !strings.Contains(broken[0], test.says) {
				t.Errorf("noticed: %.300q, want %q", broken, test.says)
			}
		})
	}
}
