package templatecheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// readsSecrets says whether an action gives a secret's value.
func readsSecrets(action string) bool {
	action = strings.ToLower(action)
	return action == "*" || strings.HasPrefix(action, "secretsmanager:") && (strings.ContainsAny(action, "*?") || strings.HasSuffix(action, "getsecretvalue"))
}

// SecretReaders wants each secret of the stacks to be read by exactly the roles that need it.
func SecretReaders(env Templates) []string {
	readers := map[string]map[string]bool{} // by kind of secret: the paths below the environment of who reads it
	for _, s := range policyStatements(env) {
		if s.denies || !slices.ContainsFunc(s.actions, readsSecrets) {
			continue
		}
		for _, on := range s.resources {
			kind := "configured"
			if strings.HasPrefix(on, "*") {
				kind = "whole account's"
			}
			for _, id := range qualified.FindAllStringSubmatch(on, -1) {
				switch r := env.Resources[id[1]]; {
				case r.Type == "AWS::SecretsManager::SecretTargetAttachment" || strings.Contains(r.ID, "DatabaseCredentials"):
					kind = "database"
				case r.Type == "AWS::SecretsManager::Secret":
					kind = "flask"
				}
			}
			if readers[kind] == nil {
				readers[kind] = map[string]bool{}
			}
			for _, role := range s.roles {
				readers[kind][Path(env.Resources[role])] = true
			}
			for _, principal := range s.principals {
				readers[kind][principal] = true
			}
		}
	}
	wanted := map[string][]string{
		"database":   {"Service/SchemaInit/Task/ExecutionRole/Resource", "Service/TaskDefinition/ExecutionRole/Resource"},
		"flask":      {"Service/TaskDefinition/ExecutionRole/Resource"},
		"configured": {"Service/TaskDefinition/ExecutionRole/Resource"},
	}
	var broken []string
	for _, kind := range slices.Sorted(maps.Keys(readers)) {
		if got := slices.Sorted(maps.Keys(readers[kind])); !slices.Equal(got, wanted[kind]) {
			broken = append(broken, fmt.Sprintf("the %s secret is read by %v, want %v", kind, got, wanted[kind]))
		}
	}
	for _, kind := range []string{"database", "flask"} {
		if readers[kind] == nil {
			broken = append(broken, fmt.Sprintf("nobody may read the %s secret", kind))
		}
	}
	return broken
}
