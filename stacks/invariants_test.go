package stacks_test

import (
	"fmt"
	"strings"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// What holds for every environment, whatever its configuration: sweep_test.go asks the same of generated ones.

func TestInvariants(t *testing.T) {
	names, err := config.Names("config")
	if err != nil {
		t.Fatal(err)
	}
	environments := map[string]config.Environment{"four keys": minimal(nil), "every key": minimal(func(env *config.Environment) {
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
		env.NotificationKeyArn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
		env.BootstrapKmsKeyArn = "arn:aws:kms:eu-west-1:123456789012:key/5678abcd"
		env.Service.Command = []string{"gunicorn", "app:app"}
		env.Service.TaskPolicyArns = []string{"arn:aws:iam::123456789012:policy/mail"}
		env.Service.Secrets = map[string]string{"API_KEY": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-AbCdEf:key::"}
		env.Pipeline.Repository, env.Pipeline.Approval = "my-org/my-app", true
	})}
	for _, name := range names {
		environments[name] = load(t, name)
	}
	var needed []string
	for name, cfg := range environments {
		t.Run(name, func(t *testing.T) {
			bodies := synthesize(t, cfg)
			for _, broken := range invariants(t, cfg, bodies) {
				t.Error(broken)
			}
			env := decodeTemplates(t, bodies)
			statements := templatecheck.CountStatements(env)
			if statements < 40 {
				t.Errorf("only %d policy statements were found: the walk misses some", statements)
			}
			_, used := templatecheck.Policies(env, templatecheck.OwnerOf(cfg), templatecheck.InEnvironments)
			needed = append(needed, used...)
			t.Logf("figure: %d policy statements of %s walked", statements, name)
		})
	}
	for _, unneeded := range append(templatecheck.UnneededOnEverything(needed), templatecheck.InEnvironments.Unneeded(needed)...) {
		t.Error(unneeded)
	}
}

// invariants returns a sentence for each invariant that an environment's templates break.
func invariants(t *testing.T, cfg config.Environment, bodies map[string][]byte) []string {
	t.Helper()
	broken, err := templatecheck.Invariants(cfg, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return broken
}

// As many variables and secrets as the configuration accepts: what AWS limits in size still holds, and the roles' policies too, which the
// library splits. The sweep's are small.
func TestTheMostThatTheConfigurationAcceptsCanBeDeployed(t *testing.T) {
	secret := func(i, characters int) (name, arn string) {
		return fmt.Sprintf("KEY_%03d", i), fmt.Sprintf("arn:aws:secretsmanager:eu-west-1:111122223333:secret:%0*d-AbCdEf", characters, i)
	}
	for name, characters := range map[string]int{"many secrets": 5, "secrets with long names": 100, "secrets with the longest names": 512} {
		t.Run(name, func(t *testing.T) {
			var file strings.Builder
			file.WriteString("project: shop\nregion: eu-west-1\ndatabase: {name: shop, user: admin}\nservice:\n  secrets:\n")
			var cfg config.Environment
			for n := 0; ; n++ {
				variable, arn := secret(n, characters)
				fmt.Fprintf(&file, "    %s: %s\n", variable, arn)
				if n%5 != 0 {
					continue
				}
				parsed, err := config.Parse("test.yaml", "test", []byte(file.String()))
				if err != nil {
					if !strings.Contains(err.Error(), "bytes of the task definition") {
						t.Fatal(err)
					}
					break
				}
				cfg = parsed
			}
			bodies := synthesize(t, cfg)
			env := decodeTemplates(t, bodies)
			for _, broken := range templatecheck.Limits(env, bodies) {
				t.Error(broken)
			}
			if size := len(templatecheck.Compact(env.ByPath(t, "Service/TaskDefinition/Resource").Properties)); size < templatecheck.MaxTaskDefinition*9/10 {
				t.Errorf("a task definition of %d bytes: the test shows nothing", size)
			}
			t.Logf("figure: %d secrets with names of %d characters", len(cfg.Service.Secrets), characters)
		})
	}
}
