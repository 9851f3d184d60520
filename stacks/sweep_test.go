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

// TestSweep synthesizes generated environments: whatever the configuration accepts must make templates that keep the invariants;
// every fourth must come out the same again. `go test ./stacks -run TestSweep -rapid.checks=200` takes more of them.
func TestSweep(t *testing.T) {
	set := func(name, value string) {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { flag.Set(name, before) })
	}
	set("rapid.nofailfile", "true") // the failure names the seed
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		set("rapid.checks", "40")
	}
	swept := 0
	rapid.Check(t, func(r *rapid.T) {
		file := generateEnvironment().Draw(r, "environment")
		env, err := config.Parse("generated.yaml", file.name, []byte(file.text))
		if err != nil {
			r.Fatalf("the generator made what is not allowed: %v\n%s", err, file.text)
		}
		bodies := synthesize(t, env)
		for _, broken := range invariants(t, env, bodies) {
			r.Error(broken)
		}
		// A second synth costs as much as the first.
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

// generated is a valid file config/<name>.yaml.
type generated struct{ name, text string }

// generateEnvironment draws valid files. Each key that need not be there is there or not, at its limits or in between.
func generateEnvironment() *rapid.Generator[generated] {
	return rapid.Custom(func(r *rapid.T) generated {
		coin := func(label string) bool { return rapid.Bool().Draw(r, label) }
		maybe := func(section map[string]any, key string, value *rapid.Generator[any]) {
			if coin("has " + key) {
				section[key] = value.Draw(r, key)
			}
		}
		region := rapid.SampledFrom([]string{"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-central-2", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1",
			"eu-south-1", "eu-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-east-1", "af-south-1", "me-south-1", "me-central-1"}).Draw(r, "region")
		account := rapid.SampledFrom([]string{"", "111122223333"}).Draw(r, "account")
		arn := func(service, resource string) string {
			return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, cmp.Or(account, "111122223333"), resource)
		}

		network := map[string]any{}
		maybe(network, "cidr", oneOf("10.0.0.0/16", "10.255.0.0/20", "172.31.0.0/16", "192.168.0.0/24", "192.168.128.0/17", "172.16.5.128/25"))
		maybe(network, "natGateways", rapid.IntRange(1, 2).AsAny())
		maybe(network, "availabilityZones", rapid.Just([]string{region + "a", region + "c"}).AsAny())

		database := map[string]any{
			"name": rapid.StringMatching(`[a-z]{3}_([a-z0-9_]{0,20}|[a-z0-9]{60})`).Draw(r, "database"),
			"user": rapid.StringMatching(`usr_([a-z0-9]{0,8}|[a-z0-9]{12})`).Draw(r, "user"),
		}
		maybe(database, "engineVersion", oneOf("8.0", "8.4"))
		if database["engineVersion"] == "8.4" {
			maybe(database, "extendedSupport", rapid.Bool().AsAny())
		}
		maybe(database, "allowMajorUpgrade", rapid.Bool().AsAny())
		maybe(database, "instanceClass", oneOf("db.t4g.micro", "db.t3.medium", "db.m7g.large", "db.r6i.2xlarge", "db.x2g.16xlarge"))
		maybe(database, "storageGiB", oneOf(20, 21, 399, 400, 65536))
		maybe(database, "backupRetentionDays", rapid.IntRange(1, 35).AsAny())
		maybe(database, "multiAz", rapid.Bool().AsAny())
		maybe(database, "requireTls", rapid.Bool().AsAny())

		service := map[string]any{}
		if coin("has a size") {
			size := rapid.SampledFrom([][2]int{{256, 512}, {256, 2048}, {512, 4096}, {1024, 2048}, {2048, 16384}, {4096, 30720}, {8192, 16384}, {16384, 122880}}).Draw(r, "size")
			service["cpu"], service["memory"] = size[0], size[1]
		}
		counts := []any{1, 2, 7}
		if cidr := network["cidr"]; cidr == nil || cidr == "172.31.0.0/16" {
			counts = append(counts, 5000) // which need that many addresses
		}
		maybe(service, "desiredCount", oneOf(counts...))
		maybe(service, "containerPort", oneOf(1, 80, 3306, 5000, 8080, 65535))
		maybe(service, "healthCheckPath", oneOf("/", "/health?deep=1", "/"+strings.Repeat("x", 1023)))
		maybe(service, "healthCheckCodes", oneOf("200", "302", "200,301", "200-399"))
		maybe(service, "command", oneOf([]any{"serve"}, []any{"gunicorn", "--bind", "0.0.0.0:5000", "app:app"}))
		maybe(service, "taskPolicyArns", oneOf([]any{"arn:aws:iam::aws:policy/AmazonSESFullAccess"}, []any{"arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/team/mail"}))
		maybe(service, "healthCheckGraceSeconds", oneOf(0, 60, 900))
		maybe(service, "environment", rapid.MapOfN(rapid.StringMatching(`APP_[A-Z]{1,12}`), rapid.StringMatching(`[ -~]{0,40}`), 0, 20).AsAny())
		maybe(service, "secrets", rapid.MapOfN(rapid.StringMatching(`KEY_[A-Z]{1,12}`), rapid.Map(rapid.StringMatching(`[a-z]{4,40}-[A-Za-z0-9]{6}(:token::)?`), func(name string) any { return arn("secretsmanager", "secret:"+name) }), 0, 200).AsAny())

		pipeline := map[string]any{}
		maybe(pipeline, "branch", oneOf("main", "release/2026.11", strings.Repeat("b", 255)))
		maybe(pipeline, "approval", rapid.Bool().AsAny())
		if coin("has a repository") {
			pipeline["repository"] = "my-org/my-app"
			maybe(pipeline, "paths", rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,10}/\*\*|[a-z]{255}`), 1, 8, rapid.ID).AsAny())
			maybe(pipeline, "connectionArn", rapid.Just(arn("codeconnections", "connection/11111111-2222-3333-4444-555555555555")).AsAny())
		}

		file := map[string]any{
			"project": rapid.StringMatching(`[a-z]([a-z0-9]|[a-z0-9]{8}(-[a-z0-9]{10})?)`).Draw(r, "project"), // 2 to 20 characters
			"region":  region, "database": database,
		}
		for key, section := range map[string]map[string]any{"network": network, "service": service, "pipeline": pipeline} {
			if len(section) > 0 {
				file[key] = section
			}
		}
		if account != "" {
			file["account"] = account
		}
		maybe(file, "architecture", oneOf("X86_64", "ARM64"))
		maybe(file, "logRetentionDays", oneOf(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653))
		maybe(file, "retain", rapid.Bool().AsAny())
		maybe(file, "tags", rapid.MapOfN(rapid.StringMatching(`[a-z]{3}([a-z0-9:_-]{0,20}|[a-z0-9]{125})`), rapid.StringMatching(`[a-zA-Z0-9 _.:/=+@-]{1,40}`), 0, 48).AsAny())
		maybe(file, "notificationTopicArn", rapid.Just(arn("sns", "alarms")).AsAny())
		if file["notificationTopicArn"] != nil {
			maybe(file, "notificationKeyArn", rapid.Just(arn("kms", "key/11111111-2222-3333-4444-555555555555")).AsAny())
		}
		maybe(file, "bootstrapKmsKeyArn", rapid.Just(arn("kms", "key/11111111-2222-3333-4444-555555555555")).AsAny())
		text, err := yaml.Marshal(file)
		if err != nil {
			r.Fatal(err)
		}
		return generated{name: rapid.StringMatching(`[a-z]([a-z0-9]{2}|[a-z0-9]{4}-[a-z0-9]{5})`).Draw(r, "environment's name"), text: string(text)}
	})
}

func oneOf(values ...any) *rapid.Generator[any] { return rapid.SampledFrom(values) }
