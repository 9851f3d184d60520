package stacks_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"flask-on-fargate/config"
)

// TestSweep synthesizes generated environments: whatever the configuration accepts must make templates that keep the invariants
// and come out the same again. `go test ./stacks -run TestSweep -rapid.checks=200` takes more of them.
func TestSweep(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.checks", "40"); err != nil {
			t.Fatal(err)
		}
		defer flag.Set("rapid.checks", checks.DefValue)
	}
	swept := 0
	rapid.Check(t, func(r *rapid.T) {
		text := generateEnvironment().Draw(r, "environment")
		env, err := config.Parse("generated.yaml", "sweep", text)
		if err != nil {
			r.Fatalf("the generator made what is not allowed: %v\n%s", err, text)
		}
		bodies := synthesize(t, env)
		for _, broken := range invariants(t, env, bodies) {
			r.Error(broken)
		}
		// A second synth of a few is enough to notice what is not determined: it costs as much as the first.
		if swept++; swept%4 == 0 {
			for stack, again := range synthesize(t, env) {
				if !bytes.Equal(bodies[stack], again) {
					r.Errorf("%s is different when it is synthesized again", stack)
				}
			}
		}
	})
	t.Logf("figure: %d generated environments swept", swept)
}

// generateEnvironment draws valid files, with each key at its limits or in between, or absent.
func generateEnvironment() *rapid.Generator[[]byte] {
	return rapid.Custom(func(r *rapid.T) []byte {
		region := rapid.SampledFrom([]string{"us-east-1", "us-west-2", "eu-central-1", "eu-west-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1", "ca-central-1", "af-south-1"}).Draw(r, "region")
		account := rapid.SampledFrom([]string{"", "111122223333"}).Draw(r, "account")
		size := rapid.SampledFrom([][2]int{{256, 512}, {256, 2048}, {512, 4096}, {1024, 2048}, {2048, 16384}, {4096, 30720}, {8192, 16384}, {16384, 122880}}).Draw(r, "size")
		version := rapid.SampledFrom([]string{"8.0", "8.4"}).Draw(r, "engine version")
		name := rapid.StringMatching(`[a-z][a-z0-9]{1,8}(-[a-z0-9]{1,8})?`).Draw(r, "project")
		arn := func(service, resource string) string {
			return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, cmp.Or(account, "111122223333"), resource)
		}
		coin := func(label string) bool { return rapid.Bool().Draw(r, label) }

		network := map[string]any{
			"cidr":        rapid.SampledFrom([]string{"10.0.0.0/16", "10.255.0.0/20", "172.31.0.0/16", "192.168.0.0/24", "192.168.128.0/17"}).Draw(r, "cidr"),
			"natGateways": rapid.IntRange(1, 2).Draw(r, "natGateways"),
		}
		if coin("zones") {
			network["availabilityZones"] = []string{region + "a", region + "c"}
		}
		database := map[string]any{
			"name": rapid.StringMatching(`[a-z]{3}_[a-z0-9_]{0,20}`).Draw(r, "database"), "user": rapid.StringMatching(`usr_[a-z0-9]{0,8}`).Draw(r, "user"),
			"engineVersion": version, "extendedSupport": version == "8.0" || coin("extendedSupport"), "allowMajorUpgrade": coin("allowMajorUpgrade"),
			"instanceClass": rapid.SampledFrom([]string{"db.t4g.micro", "db.t3.medium", "db.m7g.large", "db.r6i.2xlarge"}).Draw(r, "instanceClass"),
			"storageGiB":    rapid.SampledFrom([]int{20, 21, 400, 65536}).Draw(r, "storageGiB"), "backupRetentionDays": rapid.IntRange(1, 35).Draw(r, "backup"),
			"multiAz": coin("multiAz"), "requireTls": coin("requireTls"),
		}
		service := map[string]any{
			"cpu": size[0], "memory": size[1], "architecture": rapid.SampledFrom([]string{"X86_64", "ARM64"}).Draw(r, "architecture"),
			"desiredCount": rapid.SampledFrom([]int{1, 2, 7}).Draw(r, "desiredCount"), "containerPort": rapid.SampledFrom([]int{1, 80, 3306, 5000, 8080, 65535}).Draw(r, "containerPort"),
			"healthCheckPath":  rapid.SampledFrom([]string{"/", "/health?deep=1", "/" + strings.Repeat("x", 1023)}).Draw(r, "path"),
			"healthCheckCodes": rapid.SampledFrom([]string{"200", "200,301", "200-399"}).Draw(r, "codes"), "healthCheckGraceSeconds": rapid.SampledFrom([]int{0, 60, 900}).Draw(r, "grace"),
			"logRetentionDays": rapid.SampledFrom([]int{1, 7, 365, 3653}).Draw(r, "retention"),
			"environment":      rapid.MapOfN(rapid.StringMatching(`APP_[A-Z]{1,12}`), rapid.StringMatching(`[ -~]{0,40}`), 0, 5).Draw(r, "variables"),
		}
		if coin("secrets") {
			service["secrets"] = map[string]string{"API_KEY": arn("secretsmanager", "secret:api-AbCdEf"), "TOKEN_A": arn("secretsmanager", "secret:shared-AbCdEf:token::")}
		}
		pipeline := map[string]any{"branch": rapid.SampledFrom([]string{"main", "release/2026.11"}).Draw(r, "branch"), "approval": coin("approval")}
		if coin("pipeline") {
			pipeline["repository"] = "my-org/my-app"
			if coin("paths") {
				pipeline["paths"] = []string{"app/**", "Dockerfile"}
			}
			if coin("connection") {
				pipeline["connectionArn"] = arn("codeconnections", "connection/11111111-2222-3333-4444-555555555555")
			}
		}
		file := map[string]any{
			"project": name, "region": region, "retain": coin("retain"), "network": network, "database": database, "service": service, "pipeline": pipeline,
			"tags": rapid.MapOfN(rapid.StringMatching(`[a-z]{3}[a-zA-Z0-9:_-]{0,20}`), rapid.StringMatching(`[a-zA-Z0-9 _.:/=+@-]{1,40}`), 0, 10).Draw(r, "tags"),
		}
		if account != "" {
			file["account"] = account
		}
		if coin("topic") {
			file["notificationTopicArn"] = arn("sns", "alarms")
		}
		if coin("bootstrap key") {
			file["bootstrapKmsKeyArn"] = arn("kms", "key/11111111-2222-3333-4444-555555555555")
		}
		written, err := yaml.Marshal(file)
		if err != nil {
			r.Fatal(err)
		}
		return written
	})
}
