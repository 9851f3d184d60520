package stacks_test

import (
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

// checkSecrets wants every secret to be a reference that is resolved when it is used.
func checkSecrets(env environment) []string {
	var broken []string
	var walk func(id, key string, node any)
	walk = func(id, key string, node any) {
		switch node := node.(type) {
		case []any:
			for _, element := range node {
				walk(id, key, element)
			}
		case map[string]any:
			for name, value := range node {
				if secretProperties.MatchString(name) && name != "GenerateSecretString" && name != "SecretStringTemplate" && name != "PasswordLength" {
					if value := fmt.Sprint(readable(value)); !strings.HasPrefix(value, "{{resolve:secretsmanager:${") {
						broken = append(broken, fmt.Sprintf("%s: %s is %q, want a dynamic reference", id, name, value))
					}
					continue
				}
				walk(id, name, value)
			}
		case string:
			if strings.Contains(node, "{{resolve:") && !secretProperties.MatchString(key) {
				broken = append(broken, fmt.Sprintf("%s: %s holds a dynamic reference: its value would be readable there", id, key))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		walk(id, "", env.Resources[id].Properties)
	}
	for name, value := range env.Outputs {
		if strings.Contains(text(value), "resolve:") {
			broken = append(broken, fmt.Sprintf("the output %s holds a secret", name))
		}
	}
	return broken
}

func TestASecretInATemplateIsNoticed(t *testing.T) {
	wantNoticed(t, func(env environment, _ config.Environment) []string { return checkSecrets(env) }, map[string]fault{
		"password of the database": {set("Data/Database/Instance/Resource", `{"MasterUserPassword": "hunter2"}`), `MasterUserPassword is "hunter2"`},
	})
}
