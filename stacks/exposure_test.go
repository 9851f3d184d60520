package stacks_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

func TestSecurityGroupsAllowExactly(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		names := map[string]string{
			env.ByPath(t, "Service/Web/LB/SecurityGroup/Resource").ID: "balancer",
			env.ByPath(t, "Service/TasksSecurityGroup/Resource").ID:   "tasks",
			env.ByPath(t, "Data/Database/SecurityGroup/Resource").ID:  "database",
		}
		wanted := []string{
			"balancer in from 0.0.0.0/0 tcp 80-80",
			fmt.Sprintf("balancer out to tasks tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
			"database in from tasks tcp 3306-3306",
			"database out to 255.255.255.255/32 icmp 252-86", // the library's form of nothing
			fmt.Sprintf("tasks in from balancer tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
			"tasks out to 0.0.0.0/0 -1 ",
		}
		var got []string
		for _, rule := range templatecheck.SecurityRules(env, names) {
			got = append(got, rule.String())
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("security group rules (-want +got)\n%s", diff)
		}
	})
}

// TestEveryJudgedTypeIsThere fails when a type of resource that nothing uses any more stays allowed.
func TestEveryJudgedTypeIsThere(t *testing.T) {
	unused := templatecheck.JudgedTypes()
	for _, env := range []environment{decode(t, "prod"), decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Retain = false
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
		env.Service.Secrets = map[string]string{} // so many that the library splits the role's policy
		for i := range 200 {
			env.Service.Secrets[fmt.Sprintf("KEY_%d", i)] = fmt.Sprintf("arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-%06d", i)
		}
	})))} {
		unused = slices.DeleteFunc(unused, func(name string) bool { return len(env.All(name)) > 0 })
	}
	if len(unused) > 0 {
		t.Errorf("no environment has %q: take them from the tables", unused)
	}
}
