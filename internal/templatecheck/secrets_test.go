package templatecheck_test

import (
	"encoding/json"
	"strings"
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

func TestSecretsFinds(t *testing.T) {
	section := func(name, body string) change {
		return func(t *testing.T, env templatecheck.Templates) {
			var value any
			if err := json.Unmarshal([]byte(body), &value); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			env.Sections[name] = value
		}
	}
	wantNoticed(t, templatecheck.Secrets, map[string]fault{
		"password of the database":  {set("Data/Database/Instance/Resource", `{"MasterUserPassword": "hunter2"}`), `MasterUserPassword is "hunter2"`},
		"variable of a container":   {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Environment": [{"Name": "DATABASE_PASSWORD", "Value": "hunter2"}]}]}`), `the variable DATABASE_PASSWORD has the value "hunter2"`},
		"another word for it":       {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Environment": [{"Name": "STRIPE_API_KEY", "Value": "hunter2"}]}]}`), `the variable STRIPE_API_KEY has the value "hunter2"`},
		"resolved for a container":  {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Environment": [{"Name": "LOGIN", "Value": "{{resolve:secretsmanager:${data.FlaskSecretDB73E49F}}}"}]}]}`), "Value holds a dynamic reference"},
		"parameter for a container": {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Secrets": [{"Name": "DATABASE_PASSWORD", "ValueFrom": "hunter2"}]}]}`), `the secret DATABASE_PASSWORD comes from "hunter2"`},
		"variable of a function":    {add("AWS::Lambda::Function", `{"Environment": {"Variables": {"GITHUB_TOKEN": "hunter2"}}}`), `the variable GITHUB_TOKEN has the value "hunter2"`},
		"resolved for a function": {add("AWS::Lambda::Function", `{"Environment": {"Variables": {"DATABASE_PASSWORD": "{{resolve:secretsmanager:${data.FlaskSecretDB73E49F}}}"}}}`),
			"the variable DATABASE_PASSWORD has the value"},
		"variable of a build":             {add("AWS::CodeBuild::Project", `{"Environment": {"EnvironmentVariables": [{"Name": "NPM_TOKEN", "Type": "PLAINTEXT", "Value": "hunter2"}]}}`), `the variable NPM_TOKEN has the value "hunter2"`},
		"variable of a build by default":  {add("AWS::CodeBuild::Project", `{"Environment": {"EnvironmentVariables": [{"Name": "NPM_TOKEN", "Value": "hunter2"}]}}`), `the variable NPM_TOKEN has the value "hunter2"`},
		"variable of a pipeline's action": {add("AWS::CodePipeline::Pipeline", `{"EnvironmentVariables": "[{\"name\":\"NPM_TOKEN\",\"type\":\"PLAINTEXT\",\"value\":\"hunter2\"}]"}`), `the variable NPM_TOKEN has the value "hunter2"`},
		"access key in a command":         {add("AWS::CodeBuild::Project", `{"Source": {"BuildSpec": "aws configure set aws_access_key_id AKIAIOSFODNN7EXAMPLE"}}`), "BuildSpec holds a secret beyond doubt"},
		"metadata of a resource": {func(t *testing.T, env templatecheck.Templates) {
			env.ByPath(t, "Data/Bucket/Resource").Metadata["Password"] = "hunter2"
		}, `Password is "hunter2"`},
		"default of a parameter": {section("data.Parameters", `{"Master": {"Type": "String", "Default": "postgres://u:hunter2@db"}}`), "data.Parameters: Default holds a secret beyond doubt"},
		"parameter":              {section("data.Parameters", `{"DbPassword": {"Type": "String", "NoEcho": true, "Default": "hunter2"}}`), "data.Parameters: DbPassword is"},
		"metadata of a template": {section("data.Metadata", `{"Login": {"Password": "hunter2"}}`), `data.Metadata: Password is "hunter2"`},
		"mapping":                {section("data.Mappings", `{"Logins": {"dev": {"Password": "hunter2"}}}`), `data.Mappings: Password is "hunter2"`},
		"condition":              {section("data.Conditions", `{"Same": {"Fn::Equals": ["{{resolve:ssm-secure:login}}", "x"]}}`), "data.Conditions: Fn::Equals holds a dynamic reference"},
		"output":                 {section("data.Outputs", `{"DbLogin": {"Value": "{{resolve:secretsmanager:x}}"}}`), "data.Outputs: Value holds a dynamic reference"},
		"plain output":           {section("data.Outputs", `{"FlaskSecret": {"Value": "hunter2"}}`), `data.Outputs: the output FlaskSecret is "hunter2"`},
	})
}

// A name of the user's own choice passes with the configured value, in the application's task only.
func TestSecretsAcceptsAConfiguredName(t *testing.T) {
	cfg, env := load(t, "dev"), decode(t, "dev")
	cfg.Service.Environment = map[string]string{"APP_PASSWORD": "changeme"}
	container := templatecheck.At(env.ByPath(t, "Service/TaskDefinition/Resource").Properties, "ContainerDefinitions", 0).(map[string]any)
	container["Environment"] = append(templatecheck.List(container["Environment"]), map[string]any{"Name": "APP_PASSWORD", "Value": "changeme"})
	if broken := templatecheck.Secrets(env, cfg); len(broken) > 0 {
		t.Errorf("configured: %q", broken)
	}
	for name, configured := range map[string]map[string]string{"not configured": nil, "another value": {"APP_PASSWORD": "else"}} {
		other := cfg
		other.Service.Environment = configured
		if broken := templatecheck.Secrets(env, other); len(broken) != 1 || !strings.Contains(broken[0], `the variable APP_PASSWORD has the value "changeme"`) {
			t.Errorf("%s: noticed %q", name, broken)
		}
	}
	add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Environment": [{"Name": "APP_PASSWORD", "Value": "changeme"}]}]}`)(t, env)
	if broken := templatecheck.Secrets(env, cfg); len(broken) != 1 {
		t.Errorf("in another task: noticed %q", broken)
	}
}
