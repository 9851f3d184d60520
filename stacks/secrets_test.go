package stacks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// secretProperties are those whose value is a secret.
var secretProperties = regexp.MustCompile(`(?i)(password|secretstring|^token$|privatekey|accesskey)`)

// notSecret are properties of the same words that say how a secret is generated.
var notSecret = []string{"GenerateSecretString", "SecretStringTemplate", "PasswordLength"}

// secretNames are those of variables and outputs whose value is likely a secret.
var secretNames = regexp.MustCompile(`(?i)(passw|passphrase|pwd|secret|token|credential|(api|private|access|signing|encryption)_?key)`)

// secretValues are secrets beyond doubt: access keys of AWS, private keys, passwords inside URLs.
var secretValues = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]*:[^/\s@]+@`)

// checkSecrets wants every secret to be a reference that is resolved when it is used, anywhere in the templates. What the configuration
// sets in service.environment is the user's own: names there that sound secret pass, with the very value that is configured.
func checkSecrets(env environment, cfg config.Environment) []string {
	s := secretSearch{env: env}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		s.at, s.own = id, nil
		if pathOf(r) == "Service/TaskDefinition/Resource" {
			s.own = cfg.Service.Environment
		}
		s.walk("", r.Properties)
		s.walk("Metadata", r.Metadata)
	}
	s.own = nil
	for _, name := range slices.Sorted(maps.Keys(env.Sections)) {
		s.at = name
		s.walk("", env.Sections[name])
		if outputs, ok := env.Sections[name].(map[string]any); ok && strings.HasSuffix(name, ".Outputs") {
			for output := range outputs {
				s.output(output, at(outputs[output], "Value"))
			}
		}
	}
	for name, value := range env.Outputs {
		s.at = name
		s.walk("Value", value)
		s.output(name, value)
	}
	slices.Sort(s.broken)
	return slices.Compact(s.broken)
}

// secretSearch collects what it finds at a resource or in a section.
type secretSearch struct {
	env    environment
	at     string
	own    map[string]string // variables that may be named as they like
	broken []string
}

func (s *secretSearch) fail(format string, args ...any) {
	s.broken = append(s.broken, s.at+": "+fmt.Sprintf(format, args...))
}

// walk looks at node, the value of key.
func (s *secretSearch) walk(key string, node any) {
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			s.walk(key, element)
		}
	case map[string]any:
		s.entry(node)
		for name, value := range node {
			switch {
			case secretProperties.MatchString(name) && !slices.Contains(notSecret, name):
				if value := fmt.Sprint(readable(value)); !strings.HasPrefix(value, "{{resolve:secretsmanager:${") {
					s.fail("%s is %q, want a dynamic reference", name, value)
				}
				continue
			case name == "Variables": // of a function, which shows them to whoever may read its configuration
				variables, _ := value.(map[string]any)
				for variable, value := range variables {
					s.variable(variable, value)
				}
			case name == "EnvironmentVariables": // of an action of a pipeline: a list in a text
				var entries []any
				if body, ok := readable(value).(string); ok && json.Unmarshal([]byte(body), &entries) == nil {
					s.walk(name, entries)
				}
			}
			s.walk(name, value)
		}
	case string:
		if strings.Contains(node, "{{resolve:") && !secretProperties.MatchString(key) {
			s.fail("%s holds a dynamic reference: its value would be readable there", key)
		}
		if secretValues.MatchString(node) {
			s.fail("%s holds a secret beyond doubt: %q", key, node)
		}
	}
}

// entry looks at an object that is an environment variable: of a container, a build, or an action of a pipeline.
func (s *secretSearch) entry(object map[string]any) {
	either := func(names ...string) any {
		for _, name := range names {
			if value, ok := object[name]; ok {
				return value
			}
		}
		return nil
	}
	name, named := either("Name", "name").(string)
	if !named {
		return
	}
	if from := either("ValueFrom", "valueFrom"); from != nil {
		if reference := fmt.Sprint(readable(from)); !strings.HasPrefix(reference, "${") && !strings.HasPrefix(reference, "arn:aws:secretsmanager:") {
			s.fail("the secret %s comes from %q, want Secrets Manager", name, reference)
		}
	}
	kind := either("Type", "type")
	if value := either("Value", "value"); value != nil && (kind == nil || kind == "PLAINTEXT") {
		s.variable(name, value)
	}
}

// variable wants what a variable with a secret's name holds to be the name of a secret, not the secret.
func (s *secretSearch) variable(name string, value any) {
	if configured, ok := s.own[name]; ok && configured == value || !secretNames.MatchString(name) || s.isARN(value) {
		return
	}
	s.fail("the variable %s has the value %q, which is readable there: want a secret of Secrets Manager", name, fmt.Sprint(readable(value)))
}

// isARN tells whether value is nothing but the ARN of a secret, which says no more than the secret's name.
func (s *secretSearch) isARN(value any) bool {
	id := references(value)
	return len(id) == 1 && strings.HasPrefix(s.env.Resources[id[0]].Type, "AWS::SecretsManager::") && fmt.Sprint(readable(value)) == "${"+id[0]+"}"
}

// output wants an output with a secret's name to be the name of a resource, not an attribute of it, which could be its value.
func (s *secretSearch) output(name string, value any) {
	if secretNames.MatchString(name) && !reference.MatchString(fmt.Sprint(readable(value))) {
		s.fail("the output %s is %q, want the name of a resource", name, fmt.Sprint(readable(value)))
	}
}

var reference = regexp.MustCompile(`^\$\{([a-z]+\.)?[A-Za-z0-9]+\}$`)

func TestASecretInATemplateIsNoticed(t *testing.T) {
	section := func(name, body string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			var value any
			if err := json.Unmarshal([]byte(body), &value); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			env.Sections[name] = value
		}
	}
	wantNoticed(t, checkSecrets, map[string]fault{
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
		"metadata of a resource": {func(t *testing.T, env environment) {
			env.byPath(t, "Data/Bucket/Resource").Metadata["Password"] = "hunter2"
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
func TestASecretsNameInTheConfigurationIsTheUsersOwn(t *testing.T) {
	cfg := minimal(func(env *config.Environment) { env.Service.Environment = map[string]string{"APP_PASSWORD": "changeme"} })
	bodies := synthesize(t, cfg)
	env := decodeTemplates(t, bodies)
	if broken := checkSecrets(env, cfg); len(broken) > 0 {
		t.Errorf("configured: %q", broken)
	}
	for name, configured := range map[string]map[string]string{"not configured": nil, "another value": {"APP_PASSWORD": "else"}} {
		other := cfg
		other.Service.Environment = configured
		if broken := checkSecrets(env, other); len(broken) != 1 || !strings.Contains(broken[0], `the variable APP_PASSWORD has the value "changeme"`) {
			t.Errorf("%s: noticed %q", name, broken)
		}
	}
	add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Environment": [{"Name": "APP_PASSWORD", "Value": "changeme"}]}]}`)(t, env)
	if broken := checkSecrets(env, cfg); len(broken) != 1 {
		t.Errorf("in another task: noticed %q", broken)
	}
}

func TestTheDeliveryHoldsNoSecret(t *testing.T) {
	for _, env := range []environment{theDelivery(t), theCrossing(t)} {
		for _, broken := range checkSecrets(env, config.Environment{}) {
			t.Error(broken)
		}
	}
}
