package templatecheck_test

import (
	"strings"
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

func TestLifecycleFinds(t *testing.T) {
	policies := func(path, deletion, replacement string) change {
		return func(t *testing.T, env templatecheck.Templates) {
			r := env.ByPath(t, path)
			r.DeletionPolicy, r.UpdateReplacePolicy = deletion, replacement
			env.Resources[r.ID] = r
		}
	}
	wantNoticed(t, templatecheck.Lifecycle, map[string]fault{
		"a kept bucket":               {policies("Data/Bucket/Resource", "Retain", "Delete"), "there stay"},
		"a kept log group":            {policies("Service/Logs/Resource", "Retain", "Delete"), `there stay ["Service/Logs/Resource AWS::Logs::LogGroup Retain Delete"]`},
		"what a replacement leaves":   {policies("Data/Bucket/Resource", "Delete", "Retain"), "there stay"},
		"the default of a database":   {policies("Data/Database/Instance/Resource", "", ""), `there stay ["Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot"]`},
		"a protected database":        {set("Data/Database/Instance/Resource", `{"DeletionProtection": true}`), "the deletion protection of data.DatabaseInstanceAA8A5FDE is true, want false"},
		"backups that stay":           {set("Data/Database/Instance/Resource", `{"DeleteAutomatedBackups": false}`), "go with it: false, want true"},
		"a repository that stays":     {set("Data/Repository/Resource", `{"EmptyOnDelete": false}`), "is not emptied"},
		"a protected load balancer":   {set("Service/Web/LB/Resource", `{"LoadBalancerAttributes": [{"Key": "deletion_protection.enabled", "Value": "true"}]}`), "could not be destroyed"},
		"a protected log group":       {set("Service/Logs/Resource", `{"DeletionProtectionEnabled": true}`), "service.Logs6819BB44 is protected"},
		"log groups of the database":  {set("Data/Database/Instance/Resource", `{"EnableCloudwatchLogsExports": ["error"]}`), `exports ["error"] to log groups`},
		"a bucket that is not empty":  {add("AWS::S3::Bucket", `{}`), "emptied when destroyed: false"},
		"a function's own log group":  {add("AWS::Lambda::Function", `{}`), "has no declared log group"},
		"a build's own log group":     {add("AWS::CodeBuild::Project", `{}`), "has no declared log group"},
		"Container Insights":          {set("Service/Cluster/Resource", `{"ClusterSettings": [{"Name": "containerInsights", "Value": "enabled"}]}`), "has Container Insights"},
		"Enhanced Monitoring":         {set("Data/Database/Instance/Resource", `{"MonitoringInterval": 60}`), "has Enhanced Monitoring"},
		"a container's own log group": {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{}]}`), "has no declared log group"},
	})
}

// What a retained environment loses is noticed too.
func TestLifecycleFindsLostData(t *testing.T) {
	cfg := load(t, "prod")
	paths := []string{"Data/Bucket/Resource", "Data/Database/Credentials/Resource", "Data/Database/Instance/Resource", "Data/FlaskSecret/Resource", "Data/Repository/Resource"}
	for _, path := range paths {
		for _, policies := range [][2]string{{"Delete", "Retain"}, {"RetainExceptOnCreate", "Delete"}, {"RetainExceptOnCreate", ""}, {"Snapshot", "Delete"}, {"Snapshot", ""}, {"", ""}} {
			env := decode(t, "prod")
			r := env.ByPath(t, path)
			r.DeletionPolicy, r.UpdateReplacePolicy = policies[0], policies[1]
			env.Resources[r.ID] = r
			if broken := strings.Join(templatecheck.Lifecycle(env, cfg), "\n"); !strings.Contains(broken, "there stay") {
				t.Errorf("%s with the policies %q: noticed %q", path, policies, broken)
			}
		}
	}
	for says, lost := range map[string]string{
		"the deletion protection of data.DatabaseInstanceAA8A5FDE is false": `{"DeletionProtection": false}`,
		"the backups of data.DatabaseInstanceAA8A5FDE go with it: true":     `{"DeleteAutomatedBackups": true}`,
	} {
		env := decode(t, "prod")
		set("Data/Database/Instance/Resource", lost)(t, env)
		if broken := strings.Join(templatecheck.Lifecycle(env, cfg), "\n"); !strings.Contains(broken, says) {
			t.Errorf("noticed: %q, want %q", broken, says)
		}
	}
}

func TestProtectionFinds(t *testing.T) {
	protected := map[string]bool{"flask-app-prod-network": true, "flask-app-prod-data": true, "flask-app-delivery": false}
	if broken := templatecheck.Protection(protected, "-prod-network", "-prod-data"); len(broken) > 0 {
		t.Errorf("without a fault: %q", broken)
	}
	for says, names := range map[string][]string{
		"flask-app-prod-network is true, want false": {"-prod-data"},
		"flask-app-delivery is false, want true":     {"-prod-network", "-prod-data", "-delivery"},
	} {
		if broken := templatecheck.Protection(protected, names...); len(broken) != 1 || !strings.Contains(broken[0], says) {
			t.Errorf("noticed: %q, want %q", broken, says)
		}
	}
}
