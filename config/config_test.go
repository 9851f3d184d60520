package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// minimal is what the required keys alone make.
func minimal() Environment {
	env := Default()
	env.Name, env.Project, env.Region = "dev", "flask-app", "us-east-1"
	env.Database.Name, env.Database.User = "flaskdb", "admin"
	return env
}

func fortyNineTags() string {
	var b strings.Builder
	for i := range 49 {
		fmt.Fprintf(&b, "  k%d: v\n", i)
	}
	return "tags:\n" + b.String()
}

func TestParseAccepts(t *testing.T) {
	tests := []struct {
		name, yaml string
		change     func(*Environment)
	}{
		{"the four required keys", requiredKeys, func(*Environment) {}},
		{"a byte order mark and the line ends of Windows", "\ufeff" + strings.ReplaceAll(requiredKeys, "\n", "\r\n"), func(*Environment) {}},
		{"JSON", `{"project": "flask-app", "region": "us-east-1", "database": {"name": "flaskdb", "user": "admin"}}`, func(*Environment) {}},
		{"an engine version without quotes", requiredKeys + "  engineVersion: 8.0\n", func(*Environment) {}},
		{"an account without quotes", requiredKeys + "account: 123456789012\n", func(e *Environment) { e.Account = "123456789012" }},
		{"an account that begins with zero", requiredKeys + "account: 012345670123\n", func(e *Environment) { e.Account = "012345670123" }},
		{"variables as they are written", requiredKeys + "service: {environment: {A: 8080, B: true, C: 1.50, D: 0x1F, E: 2026-01-02, F: no, G: \"\"}}\n", func(e *Environment) {
			e.Service.Environment = map[string]string{"A": "8080", "B": "true", "C": "1.50", "D": "0x1F", "E": "2026-01-02", "F": "no", "G": ""}
		}},
		{"48 tags of all allowed characters", requiredKeys + strings.Replace(fortyNineTags(), "  k0: v\n  k1: v\n", "  \"Ä 1_.:/=+-@\": \"Ö 2_.:/=+-@\"\n", 1), func(e *Environment) {
			e.Tags = map[string]string{"Ä 1_.:/=+-@": "Ö 2_.:/=+-@"}
			for i := range 47 {
				e.Tags[fmt.Sprintf("k%d", i+2)] = "v"
			}
		}},
		{"no Extended Support with 8.4", requiredKeys + "  engineVersion: 8.4\n  extendedSupport: false\n", func(e *Environment) {
			e.Database.EngineVersion, e.Database.ExtendedSupport = "8.4", false
		}},
		{"the smallest network with as many tasks as it holds", requiredKeys + "network: {cidr: 192.168.3.128/25}\nservice: {desiredCount: 26}\n", func(e *Environment) {
			e.Network.CIDR, e.Service.DesiredCount = "192.168.3.128/25", 26
		}},
		{"the most tasks in the largest network", requiredKeys + "network: {cidr: 172.31.0.0/16}\nservice: {desiredCount: 5000}\n", func(e *Environment) {
			e.Network.CIDR, e.Service.DesiredCount = "172.31.0.0/16", 5000
		}},
		{"zones of the region", requiredKeys + "network: {availabilityZones: [us-east-1f, us-east-1a], natGateways: 2}\n", func(e *Environment) {
			e.Network.AvailabilityZones, e.Network.NatGateways = []string{"us-east-1f", "us-east-1a"}, 2
		}},
		{"codes in lists and ranges", requiredKeys + "service: {healthCheckCodes: \"200-299,301,404\", healthCheckPath: \"/up?a=1,2&b=%20\"}\n", func(e *Environment) {
			e.Service.HealthCheckCodes, e.Service.HealthCheckPath = "200-299,301,404", "/up?a=1,2&b=%20"
		}},
		{"the ports that the stacks set, repeated", requiredKeys + "service: {containerPort: 8000, environment: {PORT: 8000, DATABASE_PORT: \"3306\"}}\n", func(e *Environment) {
			e.Service.ContainerPort, e.Service.Environment = 8000, map[string]string{"PORT": "8000", "DATABASE_PORT": "3306"}
		}},
		{"a command and policies of the tasks", requiredKeys + "service: {command: [gunicorn, \"-b\", app:app], taskPolicyArns: [\"arn:aws:iam::aws:policy/AmazonSESFullAccess\", \"arn:aws:iam::123456789012:policy/team/mail\"]}\n", func(e *Environment) {
			e.Service.Command = []string{"gunicorn", "-b", "app:app"}
			e.Service.TaskPolicyArns = []string{"arn:aws:iam::aws:policy/AmazonSESFullAccess", "arn:aws:iam::123456789012:policy/team/mail"}
		}},
		{"a command whose shell puts the secrets together", requiredKeys + "service: {command: [sh, -c, \"DATABASE_URL=mysql://$DATABASE_USER:$DATABASE_PASSWORD@$DATABASE_HOST/a exec app\", \"\"]}\n", func(e *Environment) {
			e.Service.Command = []string{"sh", "-c", "DATABASE_URL=mysql://$DATABASE_USER:$DATABASE_PASSWORD@$DATABASE_HOST/a exec app", ""}
		}},
		{"a topic and the key that encrypts it", requiredKeys + "notificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts\nnotificationKeyArn: arn:aws:kms:us-east-1:123456789012:key/1234abcd\n", func(e *Environment) {
			e.NotificationTopicArn, e.NotificationKeyArn = "arn:aws:sns:us-east-1:123456789012:alerts", "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
		}},
		{"a topic of the environment's region and account", requiredKeys + "account: 123456789012\nnotificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts\n", func(e *Environment) {
			e.Account, e.NotificationTopicArn = "123456789012", "arn:aws:sns:us-east-1:123456789012:alerts"
		}},
		{"secrets whole and by key, also of another account", requiredKeys + `account: 123456789012
service:
  secrets:
    WHOLE: arn:aws:secretsmanager:us-east-1:123456789012:secret:a/b-AbCdEf
    KEY: 'arn:aws:secretsmanager:us-east-1:210987654321:secret:a/b-AbCdEf:key::'
`, func(e *Environment) {
			e.Account = "123456789012"
			e.Service.Secrets = map[string]string{
				"WHOLE": "arn:aws:secretsmanager:us-east-1:123456789012:secret:a/b-AbCdEf",
				"KEY":   "arn:aws:secretsmanager:us-east-1:210987654321:secret:a/b-AbCdEf:key::",
			}
		}},
		{"a database name that only begins with a reserved word", strings.Replace(requiredKeys, "flaskdb", "order_db", 1), func(e *Environment) { e.Database.Name = "order_db" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := minimal()
			tt.change(&want)
			got, err := Parse("config/dev.yaml", "dev", []byte(tt.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAcceptsEveryFargateSize(t *testing.T) {
	// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
	allowed := map[int][]int{256: {512, 1024, 2048}, 512: span(1024, 4096, 1024), 1024: span(2048, 8192, 1024), 2048: span(4096, 16384, 1024),
		4096: span(8192, 30720, 1024), 8192: span(16384, 61440, 4096), 16384: span(32768, 122880, 8192)}
	for cpu, memories := range allowed {
		for _, memory := range append(span(512, 122880, 512), 513, 1025) {
			_, err := Parse("dev.yaml", "dev", fmt.Appendf(nil, "%sservice: {cpu: %d, memory: %d}\n", requiredKeys, cpu, memory))
			if accepted, want := err == nil, slices.Contains(memories, memory); accepted != want {
				t.Errorf("cpu %d, memory %d: accepted is %t, want %t", cpu, memory, accepted, want)
			}
		}
	}
}

func span(from, to, by int) []int {
	var numbers []int
	for n := from; n <= to; n += by {
		numbers = append(numbers, n)
	}
	return numbers
}

func TestParseAcceptsTheRetentionsOfCloudWatchLogs(t *testing.T) {
	// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
	allowed := []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
	for _, days := range allowed {
		for _, days := range []int{days - 1, days, days + 1} {
			_, err := Parse("dev.yaml", "dev", fmt.Appendf(nil, "%slogRetentionDays: %d\n", requiredKeys, days))
			if accepted, want := err == nil, slices.Contains(allowed, days); accepted != want {
				t.Errorf("%d days: accepted is %t, want %t", days, accepted, want)
			}
		}
	}
}

func TestParseJudgesInstanceClasses(t *testing.T) {
	for class, want := range map[string]bool{
		"db.t3.micro": true, "db.t4g.2xlarge": true, "db.m5.large": true, "db.m5d.24xlarge": true, "db.m6gd.xlarge": true, "db.m6idn.32xlarge": true,
		"db.m8g.48xlarge": true, "db.r5b.4xlarge": true, "db.r7i.large": true, "db.r8gd.16xlarge": true, "db.x2iedn.32xlarge": true, "db.z1d.3xlarge": true,
		"db.m10g.large": true,
		"db.t2.small":   false, "db.t4g.4xlarge": false, "db.m4.large": false, "db.r4.large": false, "db.r5.medium": false, "db.serverless": false,
		"db.m5.1xlarge": false, "db.m5.xlarge.x": false, "m5.large": false, "db.c5.large": false, "db.t4g.micro ": false,
	} {
		_, err := Parse("dev.yaml", "dev", []byte(requiredKeys+fmt.Sprintf("  instanceClass: %q\n", class)))
		if accepted := err == nil; accepted != want {
			t.Errorf("%q: accepted is %t, want %t", class, accepted, want)
		}
	}
}

func TestParseReportsAllFaultsByLine(t *testing.T) {
	const file = `project: Flask
regoin: us-east-1
database:
  name: order
  user: admin
  extendedSupport: false
network:
  cidr: 10.0.0.1/16
  availabilityZones: [us-east-1a, us-east-1b]
logRetentionDays: 8
service:
  cpu: 300
  memory: 700
  desiredCount: none
  environment: {FLASK_SECRET: x}
`
	_, err := Parse("config/dev.yaml", "dev", []byte(file))
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("got %T: %v", err, err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Key))
	}
	want := []string{
		"1:1 region",
		"1:10 project",
		"2:1 regoin",
		"4:9 database.name",
		"6:20 database.extendedSupport",
		"8:9 network.cidr",
		"10:19 logRetentionDays",
		"12:8 service.cpu", // and nothing of memory, which cannot be judged without it
		"14:17 service.desiredCount",
		"15:17 service.environment.FLASK_SECRET",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseShowsNoSecret(t *testing.T) {
	const secret = "hunter2"
	for _, file := range []string{
		"service: {environment: " + secret + "}\n",
		"service: {environment: [KEY=" + secret + "]}\n",
		"service: {environment: {KEY: [" + secret + "]}}\n",
		"service: {environment: {KEY: *" + secret + "}}\n",
		"service: {environment: {KEY: &" + secret + "}}\n",
		"service: {environment: {KEY: !" + secret + "}}\n",
		"service: {environment: {KEY: \"mysql://admin:" + secret + "@host/db\"}}\n",
		"service: {environment: {KEY: x, KEY: " + secret + "}}\n",
		"service: {secrets: {KEY: " + secret + "}}\n",
		"service: {secrets: " + secret + "}\n",
		"service: {secrets: {KEY: \"" + secret + "}}\n",
		"  password: " + secret + "\n",
	} {
		_, err := Parse("config/dev.yaml", "dev", []byte(requiredKeys+file))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

func TestParseRefusesAliasBombsAtOnce(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%[1]c [*%c, *%[2]c, *%[2]c, *%[2]c, *%[2]c, *%[2]c, *%[2]c, *%[2]c]\n", c, c-1)
	}
	_, err := Parse("config/dev.yaml", "dev", []byte(bomb))
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) > 100 {
		t.Errorf("got %T with %d faults", err, len(faults))
	}
}

func TestParseLimitsTheStackNames(t *testing.T) {
	file := strings.Replace(requiredKeys, "flask-app", "flask-app-1234567890", 1)
	if _, err := Parse("config/dev.yaml", "production1", []byte(file)); err != nil {
		t.Errorf("32 characters: %v", err)
	}
	_, err := Parse("config/production12.yaml", "production12", []byte(file))
	want := `config/production12.yaml:1:10: project: "flask-app-1234567890" and the environment's name make "flask-app-1234567890-production12", 33 characters long
    Allowed: at most 32, the limit of a CodeConnections connection's name. Shorten the project, or rename the file.`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slash := filepath.ToSlash(dir)
	if _, err := Load(dir, "dev"); err == nil || err.Error() != `there is no environment "dev", nor any other: create `+slash+`/dev.yaml` {
		t.Errorf("empty directory: %v", err)
	}
	write("prod.yaml", requiredKeys)
	write("dev.yaml", requiredKeys)
	write("bad.yaml", requiredKeys+"retain: 1\n")
	write("delivery.yaml", "")
	write("stage.yml", requiredKeys)
	write(".hidden.yaml", "")
	write("schema.json", "{}")

	if env, err := Load(dir, "dev"); err != nil || !cmp.Equal(env, minimal()) {
		t.Errorf("dev: got %+v, %v", env, err)
	}
	if names, err := Names(dir); err != nil || !slices.Equal(names, []string{"bad", "dev", "prod"}) {
		t.Errorf("Names: got %v, %v", names, err)
	}
	for name, want := range map[string]string{
		"bad":      slash + "/bad.yaml:6:9: retain: 1 is a number, not a boolean (true or false)\n    Allowed: true or false.",
		"test":     `there is no environment "test": choose one of bad, dev, prod, or create ` + slash + `/test.yaml`,
		"stage":    `there is no environment "stage": rename ` + slash + `/stage.yml to stage.yaml`,
		"delivery": `"delivery" cannot name an environment: delivery.yaml configures the delivery pipeline; choose another name`,
		"../x":     `"../x" cannot name an environment: use lowercase letters, digits and single hyphens, the first a letter, the last no hyphen, as in dev or eu-prod`,
	} {
		if _, err := Load(dir, name); err == nil || err.Error() != want {
			t.Errorf("%s: got:\n%v\nwant:\n%s", name, err, want)
		}
	}

	write("Test.yaml", requiredKeys)
	want := slash + `/Test.yaml: "Test" cannot name an environment: use lowercase letters, digits and single hyphens, the first a letter, the last no hyphen, as in dev or eu-prod`
	if _, err := Names(dir); err == nil || err.Error() != want {
		t.Errorf("Names: got:\n%v\nwant:\n%s", err, want)
	}
}

func TestShippedEnvironments(t *testing.T) {
	dev := minimal()
	dev.Retain = false
	dev.LogRetentionDays = 7
	dev.Pipeline.Repository = "my-org/my-app"

	prod := minimal()
	prod.Name = "prod"
	prod.Network.AvailabilityZones = []string{"us-east-1a", "us-east-1b"}
	prod.Network.NatGateways = 2
	prod.Database.EngineVersion = "8.4"
	prod.Database.ExtendedSupport = false
	prod.Database.MultiAZ = true
	prod.Database.BackupRetentionDays = 30
	prod.Service.DesiredCount = 2
	prod.LogRetentionDays = 365
	prod.Pipeline.Repository = "my-org/my-app"
	prod.Pipeline.Approval = true

	for _, want := range []Environment{dev, prod} {
		got, err := Load(".", want.Name)
		if err != nil {
			t.Errorf("%s: %v", want.Name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
}

func TestDatabaseCosts(t *testing.T) {
	tests := []struct {
		class, version string
		multiAZ        bool
		vcpus          int
		usd            float64
	}{
		{"db.t4g.micro", "8.0", false, 2, 146},
		{"db.t4g.micro", "8.0", true, 2, 292},
		{"db.t4g.micro", "8.4", true, 2, 0},
		{"db.m7g.large", "8.0", false, 2, 146},
		{"db.m7g.xlarge", "8.0", false, 4, 292},
		{"db.r6i.16xlarge", "8.0", false, 64, 4672},
	}
	for _, tt := range tests {
		d := Database{InstanceClass: tt.class, EngineVersion: tt.version, ExtendedSupport: true, MultiAZ: tt.multiAZ}
		if got := d.VCPUs(); got != tt.vcpus {
			t.Errorf("%s: %d vCPUs, want %d", tt.class, got, tt.vcpus)
		}
		if got := d.ExtendedSupportMonthlyUSD(); got < tt.usd-0.01 || got > tt.usd+0.01 {
			t.Errorf("%+v: %.2f USD, want %.2f", d, got, tt.usd)
		}
	}
}

// TestSchemaSaysWhatIsAllowed keeps the messages whole: each takes its remedy from the key's comment.
func TestSchemaSaysWhatIsAllowed(t *testing.T) {
	var sections func(key string, values map[string]any)
	sections = func(key string, values map[string]any) {
		at, _, _ := locate(environmentSchema(), strings.FieldsFunc(key, func(c rune) bool { return c == '.' }), values)
		for name, s := range at.Properties {
			child := join(key, name)
			switch {
			case len(s.Properties) > 0:
				sections(child, map[string]any{name: map[string]any{}})
			case allowed(s) == "" || strings.Contains(allowed(s), "\n"):
				t.Errorf("the comment of %s needs a last paragraph that begins with %q", child, allowedMark)
			}
		}
	}
	sections("", map[string]any{})
	if got := slices.Sorted(maps.Keys(fargateMemory)); !cmp.Equal(got, enum(t, "service", "cpu")) {
		t.Errorf("the schema's cpu and the table of memory differ: %v", got)
	}
}

func enum(t *testing.T, section, key string) []int {
	t.Helper()
	var numbers []int
	for _, v := range property(property(environmentSchema(), section), key).Enum.Values {
		var n int
		if _, err := fmt.Sscan(fmt.Sprint(v), &n); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func FuzzParse(f *testing.F) {
	for _, tt := range []string{"", "---\n", "- a\n", requiredKeys, requiredKeys + "account: 012345678901\n", requiredKeys + "  engineVersion: 8.4\n  extendedSupport: false\n",
		requiredKeys + "tags: {a: b, \"\": c, 1: d, ~: e, <<: {f: g}}\n", requiredKeys + "service: {environment: {A: &a 1, B: *a, C: !!binary x}, secrets: {A: [b]}}\n",
		requiredKeys + "network: {cidr: 10.0.0.0/25, availabilityZones: [us-east-1a, {a: b}]}\nservice: {desiredCount: .inf, cpu: 1e400}\n", "a: [\n", "\ufeff{}", "\xff\xfe"} {
		f.Add([]byte(tt))
	}
	for _, name := range []string{"dev.yaml", "prod.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := Parse("config/dev.yaml", "dev", data)
		if err != nil {
			if faults, ok := errors.AsType[Faults](err); !ok || len(faults) == 0 {
				t.Fatalf("got %T: %v", err, err)
			}
			return
		}
		written, err := yaml.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", "dev", written)
		if err != nil {
			t.Fatalf("%s\n%v", written, err)
		}
		if diff := cmp.Diff(env, again); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}
