package templatecheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

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

// Secrets wants every secret to be a reference that is resolved when it is used, anywhere in the templates. What the configuration
// sets in service.environment is the user's own: names there that sound secret pass, with the very value that is configured.
func Secrets(env Templates, cfg config.Environment) []string {
	s := secretSearch{env: env}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		s.at, s.own = id, nil
		if Path(r) == "Service/TaskDefinition/Resource" {
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
				s.output(output, At(outputs[output], "Value"))
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
	env    Templates
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
				if value := fmt.Sprint(Readable(value)); !strings.HasPrefix(value, "{{resolve:secretsmanager:${") {
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
				if body, ok := Readable(value).(string); ok && json.Unmarshal([]byte(body), &entries) == nil {
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
		if reference := fmt.Sprint(Readable(from)); !strings.HasPrefix(reference, "${") && !strings.HasPrefix(reference, "arn:aws:secretsmanager:") {
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
	s.fail("the variable %s has the value %q, which is readable there: want a secret of Secrets Manager", name, fmt.Sprint(Readable(value)))
}

// isARN tells whether value is nothing but the ARN of a secret, which says no more than the secret's name.
func (s *secretSearch) isARN(value any) bool {
	id := References(value)
	return len(id) == 1 && strings.HasPrefix(s.env.Resources[id[0]].Type, "AWS::SecretsManager::") && fmt.Sprint(Readable(value)) == "${"+id[0]+"}"
}

// output wants an output with a secret's name to be the name of a resource, not an attribute of it, which could be its value.
func (s *secretSearch) output(name string, value any) {
	if secretNames.MatchString(name) && !wholeReference.MatchString(fmt.Sprint(Readable(value))) {
		s.fail("the output %s is %q, want the name of a resource", name, fmt.Sprint(Readable(value)))
	}
}

// wholeReference is a text that is one reference to a resource.
var wholeReference = regexp.MustCompile(`^\$\{([a-z]+\.)?[A-Za-z0-9]+\}$`)
