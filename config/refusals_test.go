package config

import (
	"fmt"
	"strings"
	"testing"
)

// requiredKeys are the keys that every file has. Below it, at line 6, more keys of the database can follow, or another section.
const requiredKeys = "project: flask-app\nregion: us-east-1\ndatabase:\n  name: flaskdb\n  user: admin\n"

// refusal is a file and the exact message that it gets.
type refusal struct{ name, yaml, want string }

// keysAt are the keys at the top level of a file, or in a section, as a message lists them.
func keysAt(section ...string) string {
	at := environmentSchema()
	for _, name := range section {
		at = property(at, name)
	}
	return strings.Join(keysOf(at), ", ")
}

func testRefusals(t *testing.T, tests []refusal) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, err := Parse("config/dev.yaml", "dev", []byte(tt.yaml))
			if err == nil {
				t.Fatalf("accepted: %+v", env)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestParseReportsWhatIsNotAnEnvironmentsFile(t *testing.T) {
	testRefusals(t, []refusal{
		{
			name: "empty file",
			yaml: "",
			want: "config/dev.yaml: the file is empty\n" +
				"    Give at least project, region, database.name and database.user; docs/configuration.md shows every key.",
		},
		{
			name: "comments only",
			yaml: "# nothing\n",
			want: "config/dev.yaml: the file is empty\n" +
				"    Give at least project, region, database.name and database.user; docs/configuration.md shows every key.",
		},
		{
			name: "empty document",
			yaml: "---\n",
			want: "config/dev.yaml: the file is empty\n" +
				"    Give at least project, region, database.name and database.user; docs/configuration.md shows every key.",
		},
		{
			name: "list at the top",
			yaml: "- project\n",
			want: "config/dev.yaml:1:1: the file holds a list, not a mapping of keys to values\n" +
				"    Begin with `project: <name>`; docs/configuration.md shows every key.",
		},
		{
			name: "text at the top",
			yaml: "project\n",
			want: "config/dev.yaml:1:1: the file holds text, not a mapping of keys to values\n" +
				"    Begin with `project: <name>`; docs/configuration.md shows every key.",
		},
		{
			name: "syntax",
			yaml: "project: flask-app\nregion: us-east-1: x\n",
			want: "config/dev.yaml:2:18: the file is not YAML: mapping values are not allowed in this context\n" +
				"    Correct the line or the one above it: look at its indentation, its quotes and the space after each colon. A value that ends in a colon needs quotes.",
		},
		{
			name: "syntax in a construct",
			yaml: "project: flask-app\ntags: {a: b\nregion: us-east-1\n",
			want: "config/dev.yaml:3:7: the file is not YAML: did not find expected ',' or '}', while parsing a flow mapping that begins in line 2\n" +
				"    Correct the line or the one above it: look at its indentation, its quotes and the space after each colon. A value that ends in a colon needs quotes.",
		},
		{
			name: "control character",
			yaml: "project: \u0001\n",
			want: "config/dev.yaml:1:10: the byte 0x01 is not text\n" +
				"    Save the file as plain text in UTF-8.",
		},
		{
			name: "second document",
			yaml: requiredKeys + "---\nproject: other\n",
			want: "config/dev.yaml:6:1: a second document begins here\n" +
				"    One file is one environment: remove the line `---` and what follows it, or move it to a file of its own.",
		},
		{
			name: "second document that is no YAML",
			yaml: requiredKeys + "---\nproject: [\n",
			want: "config/dev.yaml:8:1: the file is not YAML: did not find expected node content, while parsing a flow node that begins in line 8\n" +
				"    Correct the line or the one above it: look at its indentation, its quotes and the space after each colon. A value that ends in a colon needs quotes.",
		},
		{
			name: "not a boolean in old YAML's words",
			yaml: requiredKeys + "retain: yes\n",
			want: "config/dev.yaml:6:9: retain: \"yes\" is text, not a boolean (true or false)\n" +
				"    Allowed: true or false.",
		},
		{
			name: "project of one letter",
			yaml: strings.Replace(requiredKeys, "flask-app", "a", 1),
			want: "config/dev.yaml:1:10: project: \"a\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
	})
}

func TestParseReportsStructure(t *testing.T) {
	testRefusals(t, []refusal{
		{
			name: "unknown key near a known one",
			yaml: requiredKeys + "  backupRetention: 7\n",
			want: "config/dev.yaml:6:3: database.backupRetention: unknown key\n" +
				"    Did you mean backupRetentionDays?",
		},
		{
			name: "unknown key in other capitals",
			yaml: requiredKeys + "  multiAZ: true\n",
			want: "config/dev.yaml:6:3: database.multiAZ: unknown key\n" +
				"    Did you mean multiAz?",
		},
		{
			name: "key that stood in service before",
			yaml: requiredKeys + "service: {architecture: ARM64, logRetentionDays: 7}\n",
			want: "config/dev.yaml:6:11: service.architecture: unknown key\n" +
				"    It belongs to the top level of the file: write `architecture:` at the beginning of a line.\n" +
				"config/dev.yaml:6:32: service.logRetentionDays: unknown key\n" +
				"    It belongs to the top level of the file: write `logRetentionDays:` at the beginning of a line.",
		},
		{
			name: "unknown key that belongs elsewhere",
			yaml: requiredKeys + "  cpu: 512\n",
			want: "config/dev.yaml:6:3: database.cpu: unknown key\n" +
				"    It belongs elsewhere: service.cpu.",
		},
		{
			name: "unknown key near nothing",
			yaml: requiredKeys + "  password: hunter2\n",
			want: "config/dev.yaml:6:3: database.password: unknown key\n" +
				"    Known in database: allowMajorUpgrade, backupRetentionDays, engineVersion, extendedSupport, instanceClass, multiAz, name, requireTls, storageGiB, user.",
		},
		{
			name: "unknown section near nothing",
			yaml: requiredKeys + "quota: {branch: main}\n",
			want: "config/dev.yaml:6:1: quota: unknown key\n" +
				"    Known in the file: " + keysAt() + ".",
		},
		{
			name: "duplicate key",
			yaml: requiredKeys + "region: eu-west-1\n",
			want: "config/dev.yaml:6:1: region: the key is given twice, first in line 2\n" +
				"    Remove one of the two.",
		},
		{
			name: "duplicate key in another notation",
			yaml: requiredKeys + `"region": eu-west-1` + "\n" + ``,
			want: "config/dev.yaml:6:1: region: the key is given twice, first in line 2\n" +
				"    Remove one of the two.",
		},
		{
			name: "missing section",
			yaml: "project: flask-app\nregion: us-east-1\n",
			want: "config/dev.yaml:1:1: database: missing\n" +
				"    Add it, with its keys name and user.",
		},
		{
			name: "missing key of a section",
			yaml: strings.Replace(requiredKeys, "  user: admin\n", "", 1),
			want: "config/dev.yaml:3:1: database.user: missing\n" +
				"    Add it, as in `user: admin`. Allowed: 1 to 16 letters, digits and underscores, the first a letter; no reserved word of MySQL, and not rdsadmin.",
		},
		{
			name: "missing key at the top",
			yaml: strings.Replace(requiredKeys, "region: us-east-1\n", "", 1),
			want: "config/dev.yaml:1:1: region: missing\n" +
				"    Add it, as in `region: us-east-1`. Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.",
		},
		{
			name: "section without keys",
			yaml: requiredKeys + "service:\n",
			want: "config/dev.yaml:6:9: service: no value is given\n" +
				"    Give it keys (" + keysAt("service") + "), or remove the line.",
		},
		{
			name: "section of another type",
			yaml: requiredKeys + "service: 5\n",
			want: "config/dev.yaml:6:10: service: the value is a number, not a mapping of keys to values\n" +
				"    Give it keys (" + keysAt("service") + "), or remove the line.",
		},
		{
			name: "list for a section",
			yaml: requiredKeys + "service: [cpu]\n",
			want: "config/dev.yaml:6:10: service: the value is a list, not a mapping of keys to values\n" +
				"    Give it keys (" + keysAt("service") + "), or remove the line.",
		},
		{
			name: "text for a list",
			yaml: requiredKeys + "network: {availabilityZones: us-east-1a}\n",
			want: "config/dev.yaml:6:30: network.availabilityZones: \"us-east-1a\" is text, not a list\n" +
				"    Allowed: exactly two different zones of the region, as in [us-east-1a, us-east-1b].",
		},
		{
			name: "list for a text",
			yaml: requiredKeys + "account: [123456789012]\n",
			want: "config/dev.yaml:6:10: account: the value is a list, not text\n" +
				"    Allowed: the 12 digits of an AWS account id, without hyphens; remove the key to use the account of the credentials.",
		},
		{
			name: "text for a number",
			yaml: requiredKeys + "service: {cpu: two}\n",
			want: "config/dev.yaml:6:16: service.cpu: \"two\" is text, not a whole number\n" +
				"    Allowed: 256, 512, 1024, 2048, 4096, 8192 or 16384.",
		},
		{
			name: "quoted number",
			yaml: requiredKeys + `service: {cpu: "256"}` + "\n" + ``,
			want: "config/dev.yaml:6:16: service.cpu: \"256\" is text, not a whole number\n" +
				"    Allowed: 256, 512, 1024, 2048, 4096, 8192 or 16384.",
		},
		{
			name: "fraction for a whole number",
			yaml: requiredKeys + "service: {memory: 512.5}\n",
			want: "config/dev.yaml:6:19: service.memory: 512.5 is a number, not a whole number\n" +
				"    Allowed: with cpu 256: 512, 1024 or 2048; with 512: 1024 to 4096; with 1024: 2048 to 8192; with 2048: 4096 to 16384; with 4096: 8192 to 30720, all in steps of 1024; with 8192: 16384 to 61440 in steps of 4096; with 16384: 32768 to 122880 in steps of 8192.",
		},
		{
			name: "number too large for any type",
			yaml: requiredKeys + "service: {desiredCount: 99999999999999999999}\n",
			want: "config/dev.yaml:6:25: service.desiredCount: 1e+20 is not allowed\n" +
				"    Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.",
		},
		{
			name: "not a number",
			yaml: requiredKeys + "service: {desiredCount: .nan}\n",
			want: "config/dev.yaml:6:25: service.desiredCount: \".nan\" is text, not a whole number\n" +
				"    Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.",
		},
		{
			name: "infinity",
			yaml: requiredKeys + "service: {desiredCount: .inf}\n",
			want: "config/dev.yaml:6:25: service.desiredCount: \".inf\" is text, not a whole number\n" +
				"    Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.",
		},
		{
			name: "number for a boolean",
			yaml: requiredKeys + "retain: 1\n",
			want: "config/dev.yaml:6:9: retain: 1 is a number, not a boolean (true or false)\n" +
				"    Allowed: true or false.",
		},
		{
			name: "text for a map",
			yaml: requiredKeys + `service: {environment: "KEY=hunter2"}` + "\n" + ``,
			want: "config/dev.yaml:6:24: service.environment: the value is text, not a mapping of keys to values\n" +
				"    Allowed: names of letters, digits and underscores, the first no digit, that neither the stacks nor ECS set; a value for each, \"\" for an empty one; at most 61440 bytes as JSON, together with `command` and `secrets`.",
		},
		{
			name: "map for a value of a map",
			yaml: requiredKeys + "tags: {team: {a: b}}\n",
			want: "config/dev.yaml:6:14: tags.team: the value is a mapping of keys to values, not text\n" +
				"    Allowed: at most 48 tags, keys of 1 to 128 and values of 1 to 256 characters: letters, digits, spaces and _ . : / = + - @. No key begins with aws: and none is `project` or `environment`.",
		},
		{
			name: "anchor",
			yaml: requiredKeys + "tags: &t {team: web}\n",
			want: "config/dev.yaml:6:7: tags: YAML anchors (&) and aliases (*) are not supported\n" +
				"    Write the value out; a text that begins with & or * needs quotes.",
		},
		{
			name: "alias",
			yaml: requiredKeys + "tags: &t {team: web}\nservice: {environment: *t}\n",
			want: "config/dev.yaml:6:7: tags: YAML anchors (&) and aliases (*) are not supported\n" +
				"    Write the value out; a text that begins with & or * needs quotes.\n" +
				"config/dev.yaml:7:24: service.environment: YAML anchors (&) and aliases (*) are not supported\n" +
				"    Write the value out; a text that begins with & or * needs quotes.",
		},
		{
			name: "alias of nothing, as in an unquoted value with an asterisk",
			yaml: requiredKeys + "service: {environment: {GLOB: *hunter2}}\n",
			want: "config/dev.yaml:6:31: a value begins with an asterisk, which makes it a YAML alias\n" +
				"    Put the value in quotes.",
		},
		{
			name: "anchor on a required key, which is not missing then",
			yaml: strings.Replace(requiredKeys, "us-east-1", "&r us-east-1", 1),
			want: "config/dev.yaml:2:9: region: YAML anchors (&) and aliases (*) are not supported\n" +
				"    Write the value out; a text that begins with & or * needs quotes.",
		},
		{
			name: "anchor in a list",
			yaml: requiredKeys + "network: {availabilityZones: [&a us-east-1a, us-east-1b]}\n",
			want: "config/dev.yaml:6:31: network.availabilityZones[0]: YAML anchors (&) and aliases (*) are not supported\n" +
				"    Write the value out; a text that begins with & or * needs quotes.",
		},
		{
			name: "tag",
			yaml: requiredKeys + "account: !!str 123456789012\n",
			want: "config/dev.yaml:6:10: account: YAML tags are not supported\n" +
				"    Remove the tag; a text that begins with ! needs quotes.",
		},
		{
			name: "tag of one's own",
			yaml: requiredKeys + "account: !secret 123456789012\n",
			want: "config/dev.yaml:6:10: account: YAML tags are not supported\n" +
				"    Remove the tag; a text that begins with ! needs quotes.",
		},
		{
			name: "merge key",
			yaml: requiredKeys + "<<: {retain: false}\n",
			want: "config/dev.yaml:6:1: a key here is not plain text\n" +
				"    Write keys as plain words; merge keys (<<), anchors, aliases, tags and lists are not supported as keys.",
		},
		{
			name: "list as a key",
			yaml: requiredKeys + "? [a]\n: b\n",
			want: "config/dev.yaml:6:3: a key here is not plain text\n" +
				"    Write keys as plain words; merge keys (<<), anchors, aliases, tags and lists are not supported as keys.",
		},
		{
			name: "key without text",
			yaml: requiredKeys + "~: b\n",
			want: "config/dev.yaml:6:1: a key here is not plain text\n" +
				"    Write keys as plain words; merge keys (<<), anchors, aliases, tags and lists are not supported as keys.",
		},
	})
}

func TestParseReportsValues(t *testing.T) {
	testRefusals(t, []refusal{
		{
			name: "project that breaks several rules, as one fault",
			yaml: strings.Replace(requiredKeys, "flask-app", "A", 1),
			want: "config/dev.yaml:1:10: project: \"A\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "project with capitals",
			yaml: strings.Replace(requiredKeys, "flask-app", "Flask-App", 1),
			want: "config/dev.yaml:1:10: project: \"Flask-App\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "project with an underscore",
			yaml: strings.Replace(requiredKeys, "flask-app", "flask_app", 1),
			want: "config/dev.yaml:1:10: project: \"flask_app\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "project with two hyphens",
			yaml: strings.Replace(requiredKeys, "flask-app", "flask--app", 1),
			want: "config/dev.yaml:1:10: project: \"flask--app\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "project with a hyphen at the end",
			yaml: strings.Replace(requiredKeys, "flask-app", "flask-", 1),
			want: "config/dev.yaml:1:10: project: \"flask-\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "project of 21 characters",
			yaml: strings.Replace(requiredKeys, "flask-app", "a23456789012345678901", 1),
			want: "config/dev.yaml:1:10: project: \"a23456789012345678901\" is not allowed\n" +
				"    Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.",
		},
		{
			name: "account with 11 digits",
			yaml: requiredKeys + "account: 12345678901\n",
			want: "config/dev.yaml:6:10: account: \"12345678901\" is not allowed\n" +
				"    Allowed: the 12 digits of an AWS account id, without hyphens; remove the key to use the account of the credentials.",
		},
		{
			name: "account with hyphens",
			yaml: requiredKeys + "account: 1234-5678-9012\n",
			want: "config/dev.yaml:6:10: account: \"1234-5678-9012\" is not allowed\n" +
				"    Allowed: the 12 digits of an AWS account id, without hyphens; remove the key to use the account of the credentials.",
		},
		{
			name: "empty account",
			yaml: requiredKeys + `account: ""` + "\n" + ``,
			want: "config/dev.yaml:6:10: account: \"\" is not allowed\n" +
				"    Allowed: the 12 digits of an AWS account id, without hyphens; remove the key to use the account of the credentials.",
		},
		{
			name: "region with a slip",
			yaml: strings.Replace(requiredKeys, "us-east-1", "us-est-1", 1),
			want: "config/dev.yaml:2:9: region: \"us-est-1\" is not allowed\n" +
				"    Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.",
		},
		{
			name: "region of GovCloud",
			yaml: strings.Replace(requiredKeys, "us-east-1", "us-gov-west-1", 1),
			want: "config/dev.yaml:2:9: region: \"us-gov-west-1\" is not allowed\n" +
				"    Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.",
		},
		{
			name: "region of China",
			yaml: strings.Replace(requiredKeys, "us-east-1", "cn-north-1", 1),
			want: "config/dev.yaml:2:9: region: \"cn-north-1\" is not allowed\n" +
				"    Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.",
		},
		{
			name: "zone for a region",
			yaml: strings.Replace(requiredKeys, "us-east-1", "us-east-1a", 1),
			want: "config/dev.yaml:2:9: region: \"us-east-1a\" is not allowed\n" +
				"    Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.",
		},
		{
			name: "tag that the app sets",
			yaml: requiredKeys + "tags: {Project: x}\n",
			want: "config/dev.yaml:6:8: tags.Project: the app sets this tag itself\n" +
				"    Remove it: `project` is the key of that name, `environment` the file's name.",
		},
		{
			name: "tag of AWS",
			yaml: requiredKeys + `tags: {"AWS:x": y}` + "\n" + ``,
			want: "config/dev.yaml:6:8: tags[\"AWS:x\"]: keys that begin with aws: are AWS's own\n" +
				"    Choose another key.",
		},
		{
			name: "tag's key with other characters",
			yaml: requiredKeys + `tags: {"a#b": x}` + "\n" + ``,
			want: "config/dev.yaml:6:8: tags[\"a#b\"]: the tag's key \"a#b\" has other characters than AWS allows\n" +
				"    Allowed: letters, digits, spaces and _ . : / = + - @",
		},
		{
			name: "tag's key too long",
			yaml: requiredKeys + "tags: {" + strings.Repeat("k", 129) + ": x}\n",
			want: "config/dev.yaml:6:8: tags." + strings.Repeat("k", 129) + ": the tag's key has 129 characters\n" +
				"    Allowed: 1 to 128.",
		},
		{
			name: "tag's key empty",
			yaml: requiredKeys + `tags: {"": x}` + "\n" + ``,
			want: "config/dev.yaml:6:8: tags[\"\"]: the tag's key has 0 characters\n" +
				"    Allowed: 1 to 128.",
		},
		{
			name: "tag's value with other characters",
			yaml: requiredKeys + `tags: {team: "a,b"}` + "\n" + ``,
			want: "config/dev.yaml:6:14: tags.team: the tag's value \"a,b\" has other characters than AWS allows\n" +
				"    Allowed: letters, digits, spaces and _ . : / = + - @",
		},
		{
			name: "tag's value empty",
			yaml: requiredKeys + `tags: {team: ""}` + "\n" + ``,
			want: "config/dev.yaml:6:14: tags.team: the tag's value has 0 characters\n" +
				"    Allowed: 1 to 256.",
		},
		{
			name: "tag's value too long",
			yaml: requiredKeys + "tags: {team: " + strings.Repeat("v", 257) + "}\n",
			want: "config/dev.yaml:6:14: tags.team: the tag's value has 257 characters\n" +
				"    Allowed: 1 to 256.",
		},
		{
			name: "tags that differ in capitals only",
			yaml: requiredKeys + "tags: {team: a, Team: b}\n",
			want: "config/dev.yaml:6:8: tags.team: it differs from the tag \"Team\" in capitals only, which IAM does not tell apart\n" +
				"    Remove one of the two.",
		},
		{
			name: "49 tags",
			yaml: requiredKeys + fortyNineTags(),
			want: "config/dev.yaml:6:1: tags: 49 tags are given\n" +
				"    Allowed: at most 48; AWS allows 50, and `project` and `environment` are added.",
		},
		{
			name: "topic of another service",
			yaml: requiredKeys + "notificationTopicArn: arn:aws:sqs:us-east-1:123456789012:alerts\n",
			want: "config/dev.yaml:6:23: notificationTopicArn: \"arn:aws:sqs:us-east-1:123456789012:alerts\" is not allowed\n" +
				"    Allowed: the ARN of a standard (not FIFO) topic, arn:aws:sns:<region>:<account>:<name>.",
		},
		{
			name: "FIFO topic",
			yaml: requiredKeys + "notificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts.fifo\n",
			want: "config/dev.yaml:6:23: notificationTopicArn: \"arn:aws:sns:us-east-1:123456789012:alerts.fifo\" is not allowed\n" +
				"    Allowed: the ARN of a standard (not FIFO) topic, arn:aws:sns:<region>:<account>:<name>.",
		},
		{
			name: "topic in another region",
			yaml: requiredKeys + "notificationTopicArn: arn:aws:sns:eu-west-1:123456789012:alerts\n",
			want: "config/dev.yaml:6:23: notificationTopicArn: \"arn:aws:sns:eu-west-1:123456789012:alerts\" is in eu-west-1, the environment in us-east-1\n" +
				"    RDS announces to topics of its own region only: name a topic in us-east-1.",
		},
		{
			name: "repository by its URL",
			yaml: requiredKeys + "pipeline: {repository: 'https://github.com/my-org/my-app'}\n",
			want: "config/dev.yaml:6:24: pipeline.repository: \"https://github.com/my-org/my-app\" is not allowed\n" +
				"    Allowed: <owner>/<name>, as in my-org/my-app.",
		},
		{
			name: "branch with a wildcard",
			yaml: requiredKeys + "pipeline: {branch: 'release/*'}\n",
			want: "config/dev.yaml:6:20: pipeline.branch: \"release/*\" is not allowed\n" +
				"    Allowed: the name of a branch, at most 255 characters, without spaces and wildcards.",
		},
		{
			name: "no paths",
			yaml: requiredKeys + "pipeline: {paths: []}\n",
			want: "config/dev.yaml:6:19: pipeline.paths: [] is not allowed\n" +
				"    Allowed: 1 to 8 different glob patterns of at most 255 characters, as in app/**.",
		},
		{
			name: "a path that is too long",
			yaml: requiredKeys + "pipeline: {paths: [" + strings.Repeat("a", 256) + "]}\n",
			want: "config/dev.yaml:6:20: pipeline.paths[0]: the pattern has 256 characters\n" +
				"    Allowed: 1 to 8 different glob patterns of at most 255 characters, as in app/**.",
		},
		{
			name: "connection of a host that is none",
			yaml: requiredKeys + "pipeline: {connectionArn: arn:aws:codecommit:us-east-1:123456789012:my-app}\n",
			want: "config/dev.yaml:6:27: pipeline.connectionArn: \"arn:aws:codecommit:us-east-1:123456789012:my-app\" is not allowed\n" +
				"    Allowed: the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>.",
		},
		{
			name: "connection in another account",
			yaml: requiredKeys + "account: 210987654321\npipeline: {connectionArn: arn:aws:codeconnections:eu-west-1:123456789012:connection/12ab}\n",
			want: "config/dev.yaml:7:27: pipeline.connectionArn: \"arn:aws:codeconnections:eu-west-1:123456789012:connection/12ab\" is in the account 123456789012, the environment in 210987654321\n" +
				"    Name one of the account 210987654321.",
		},
		{
			name: "region without a certificate in the RDS CA bundle",
			yaml: strings.Replace(requiredKeys, "us-east-1", "ca-west-1", 1),
			want: "config/dev.yaml:2:9: region: the schema task could not verify a database in ca-west-1: the RDS CA bundle that this project ships has no certificate for it\n" +
				"    Choose another region. Not supported yet: ap-east-2, ap-southeast-5, ap-southeast-6, ap-southeast-7, ca-west-1, il-central-1, mx-central-1.",
		},
		{
			name: "bootstrap key in another region",
			yaml: requiredKeys + "bootstrapKmsKeyArn: arn:aws:kms:eu-west-1:123456789012:key/1234abcd\n",
			want: "config/dev.yaml:6:21: bootstrapKmsKeyArn: \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd\" is in eu-west-1, the environment in us-east-1\n" +
				"    The bootstrap bucket and its key are in the environment's region: name the key in us-east-1.",
		},
		{
			name: "bootstrap key by its alias",
			yaml: requiredKeys + "bootstrapKmsKeyArn: alias/cdk\n",
			want: "config/dev.yaml:6:21: bootstrapKmsKeyArn: \"alias/cdk\" is not allowed\n" +
				"    Allowed: the ARN of a KMS key, arn:aws:kms:<region>:<account>:key/<id>.",
		},
		{
			name: "topic in another account",
			yaml: requiredKeys + "account: 210987654321\nnotificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts\n",
			want: "config/dev.yaml:7:23: notificationTopicArn: \"arn:aws:sns:us-east-1:123456789012:alerts\" is in the account 123456789012, the environment in 210987654321\n" +
				"    Name one of the account 210987654321.",
		},
		{
			name: "cidr that is an address",
			yaml: requiredKeys + "network: {cidr: 10.0.0.0}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"10.0.0.0\" is no IPv4 address range\n" +
				"    Allowed: the network address of an IPv4 range, /16 to /25, inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 and outside 172.17.0.0/16. It is split into four equal subnets; the private ones must hold the tasks of a deployment and the database.",
		},
		{
			name: "cidr of IPv6",
			yaml: requiredKeys + `network: {cidr: "fd00::/16"}` + "\n" + ``,
			want: "config/dev.yaml:6:17: network.cidr: \"fd00::/16\" is no IPv4 address range\n" +
				"    Allowed: the network address of an IPv4 range, /16 to /25, inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 and outside 172.17.0.0/16. It is split into four equal subnets; the private ones must hold the tasks of a deployment and the database.",
		},
		{
			name: "cidr with leading zeros",
			yaml: requiredKeys + "network: {cidr: 010.0.0.0/16}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"010.0.0.0/16\" is no IPv4 address range\n" +
				"    Allowed: the network address of an IPv4 range, /16 to /25, inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 and outside 172.17.0.0/16. It is split into four equal subnets; the private ones must hold the tasks of a deployment and the database.",
		},
		{
			name: "cidr too large",
			yaml: requiredKeys + "network: {cidr: 10.0.0.0/15}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"10.0.0.0/15\" is a /15\n" +
				"    Allowed: /16, the largest that a VPC can have, to /25, of which each of four subnets still has the /27 that a load balancer needs.",
		},
		{
			name: "cidr too small",
			yaml: requiredKeys + "network: {cidr: 10.0.0.0/26}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"10.0.0.0/26\" is a /26\n" +
				"    Allowed: /16, the largest that a VPC can have, to /25, of which each of four subnets still has the /27 that a load balancer needs.",
		},
		{
			name: "public cidr",
			yaml: requiredKeys + "network: {cidr: 11.0.0.0/16}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"11.0.0.0/16\" is a range of the public internet\n" +
				"    Allowed: ranges inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.",
		},
		{
			name: "cidr beside 172.16.0.0/12",
			yaml: requiredKeys + "network: {cidr: 172.32.0.0/16}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"172.32.0.0/16\" is a range of the public internet\n" +
				"    Allowed: ranges inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.",
		},
		{
			name: "cidr with host bits",
			yaml: requiredKeys + "network: {cidr: 192.168.1.1/24}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"192.168.1.1/24\" is not where a /24 begins\n" +
				"    Write 192.168.1.0/24.",
		},
		{
			name: "cidr that AWS uses",
			yaml: requiredKeys + "network: {cidr: 172.17.128.0/20}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"172.17.128.0/20\" is in 172.17.0.0/16, which services of AWS use themselves\n" +
				"    Choose another range, as in 172.18.0.0/16.",
		},
		{
			name: "cidr too small for the tasks",
			yaml: requiredKeys + "network: {cidr: 10.0.0.0/25}\nservice: {desiredCount: 27}\n",
			want: "config/dev.yaml:6:17: network.cidr: \"10.0.0.0/25\" leaves 54 addresses in the two private subnets, and 56 are needed\n" +
				"    Needed: 2 × 27 for service.desiredCount, since a deployment runs the old and the new tasks at once, 1 for the schema task, 1 for the database. Choose a /24, or fewer tasks.",
		},
		{
			name: "cidr too small for the tasks and a standby",
			yaml: requiredKeys + "  multiAz: true\nnetwork: {cidr: 10.0.0.0/25}\nservice: {desiredCount: 26}\n",
			want: "config/dev.yaml:7:17: network.cidr: \"10.0.0.0/25\" leaves 54 addresses in the two private subnets, and 55 are needed\n" +
				"    Needed: 2 × 26 for service.desiredCount, since a deployment runs the old and the new tasks at once, 1 for the schema task, 2 for the database. Choose a /24, or fewer tasks.",
		},
		{
			name: "one zone",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a]}\n",
			want: "config/dev.yaml:6:30: network.availabilityZones: [us-east-1a] is not allowed\n" +
				"    Allowed: exactly two different zones of the region, as in [us-east-1a, us-east-1b].",
		},
		{
			name: "three zones",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, us-east-1b, us-east-1c]}\n",
			want: "config/dev.yaml:6:30: network.availabilityZones: [us-east-1a, us-east-1b, us-east-1c] is not allowed\n" +
				"    Allowed: exactly two different zones of the region, as in [us-east-1a, us-east-1b].",
		},
		{
			name: "the same zone twice",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, us-east-1a]}\n",
			want: "config/dev.yaml:6:30: network.availabilityZones: [us-east-1a, us-east-1a] is not allowed\n" +
				"    Allowed: exactly two different zones of the region, as in [us-east-1a, us-east-1b].",
		},
		{
			name: "zone of another region",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, us-west-1b]}\n",
			want: "config/dev.yaml:6:43: network.availabilityZones[1]: \"us-west-1b\" is no availability zone of us-east-1\n" +
				"    Allowed: the region and a letter, as in us-east-1a.",
		},
		{
			name: "local zone",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, us-east-1-bos-1a]}\n",
			want: "config/dev.yaml:6:43: network.availabilityZones[1]: \"us-east-1-bos-1a\" is no availability zone of us-east-1\n" +
				"    Allowed: the region and a letter, as in us-east-1a.",
		},
		{
			name: "zone with two letters",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, us-east-1bc]}\n",
			want: "config/dev.yaml:6:43: network.availabilityZones[1]: \"us-east-1bc\" is no availability zone of us-east-1\n" +
				"    Allowed: the region and a letter, as in us-east-1a.",
		},
		{
			name: "zone without its region",
			yaml: requiredKeys + "network: {availabilityZones: [us-east-1a, b]}\n",
			want: "config/dev.yaml:6:43: network.availabilityZones[1]: \"b\" is no availability zone of us-east-1\n" +
				"    Allowed: the region and a letter, as in us-east-1a.",
		},
		{
			name: "no NAT gateway",
			yaml: requiredKeys + "network: {natGateways: 0}\n",
			want: "config/dev.yaml:6:24: network.natGateways: 0 is not allowed\n" +
				"    Allowed: 1 or 2. Without one nothing starts: the tasks are in private subnets, and public ECR has no VPC endpoint.",
		},
		{
			name: "three NAT gateways",
			yaml: requiredKeys + "network: {natGateways: 3}\n",
			want: "config/dev.yaml:6:24: network.natGateways: 3 is not allowed\n" +
				"    Allowed: 1 or 2. Without one nothing starts: the tasks are in private subnets, and public ECR has no VPC endpoint.",
		},
		{
			name: "database name with a hyphen",
			yaml: strings.Replace(requiredKeys, "flaskdb", "flask-db", 1),
			want: "config/dev.yaml:4:9: database.name: \"flask-db\" is not allowed\n" +
				"    Allowed: 1 to 64 letters, digits and underscores, the first a letter; no reserved word and no system schema of MySQL.",
		},
		{
			name: "database name with a digit first",
			yaml: strings.Replace(requiredKeys, "flaskdb", "1flask", 1),
			want: "config/dev.yaml:4:9: database.name: \"1flask\" is not allowed\n" +
				"    Allowed: 1 to 64 letters, digits and underscores, the first a letter; no reserved word and no system schema of MySQL.",
		},
		{
			name: "database name of 65 characters",
			yaml: strings.Replace(requiredKeys, "flaskdb", strings.Repeat("d", 65), 1),
			want: "config/dev.yaml:4:9: database.name: \"" + strings.Repeat("d", 65) + "\" is not allowed\n" +
				"    Allowed: 1 to 64 letters, digits and underscores, the first a letter; no reserved word and no system schema of MySQL.",
		},
		{
			name: "database name that MySQL has",
			yaml: strings.Replace(requiredKeys, "flaskdb", "Sys", 1),
			want: "config/dev.yaml:4:9: database.name: \"Sys\" is a system schema of MySQL\n" +
				"    Choose another name, as in flaskdb.",
		},
		{
			name: "database name that is reserved",
			yaml: strings.Replace(requiredKeys, "flaskdb", "Order", 1),
			want: "config/dev.yaml:4:9: database.name: \"Order\" is a reserved word of MySQL\n" +
				"    RDS refuses it: choose another name, as in order_db.",
		},
		{
			name: "database name that 8.4 reserves",
			yaml: strings.Replace(requiredKeys, "flaskdb", "manual", 1),
			want: "config/dev.yaml:4:9: database.name: \"manual\" is a reserved word of MySQL\n" +
				"    RDS refuses it: choose another name, as in manual_db.",
		},
		{
			name: "user of 17 characters",
			yaml: strings.Replace(requiredKeys, "admin", "a2345678901234567", 1),
			want: "config/dev.yaml:5:9: database.user: \"a2345678901234567\" is not allowed\n" +
				"    Allowed: 1 to 16 letters, digits and underscores, the first a letter; no reserved word of MySQL, and not rdsadmin.",
		},
		{
			name: "user with a hyphen",
			yaml: strings.Replace(requiredKeys, "admin", "flask-user", 1),
			want: "config/dev.yaml:5:9: database.user: \"flask-user\" is not allowed\n" +
				"    Allowed: 1 to 16 letters, digits and underscores, the first a letter; no reserved word of MySQL, and not rdsadmin.",
		},
		{
			name: "user of RDS",
			yaml: strings.Replace(requiredKeys, "admin", "rdsadmin", 1),
			want: "config/dev.yaml:5:9: database.user: \"rdsadmin\" is RDS's own user\n" +
				"    Choose another name, as in admin.",
		},
		{
			name: "user that is reserved",
			yaml: strings.Replace(requiredKeys, "admin", "Select", 1),
			want: "config/dev.yaml:5:9: database.user: \"Select\" is a reserved word of MySQL\n" +
				"    RDS refuses it: choose another name, as in admin.",
		},
		{
			name: "minor engine version",
			yaml: requiredKeys + "  engineVersion: 8.0.36\n",
			want: "config/dev.yaml:6:18: database.engineVersion: \"8.0.36\" is not allowed\n" +
				"    Allowed: \"8.0\" or \"8.4\", the major form only: a full version as in 8.0.36 fails once AWS retires it, or once RDS has upgraded the instance by itself.",
		},
		{
			name: "old engine version",
			yaml: requiredKeys + "  engineVersion: 5.7\n",
			want: "config/dev.yaml:6:18: database.engineVersion: \"5.7\" is not allowed\n" +
				"    Allowed: \"8.0\" or \"8.4\", the major form only: a full version as in 8.0.36 fails once AWS retires it, or once RDS has upgraded the instance by itself.",
		},
		{
			name: "no Extended Support with the default version",
			yaml: requiredKeys + "  extendedSupport: false\n",
			want: "config/dev.yaml:6:20: database.extendedSupport: false does not go with MySQL 8.0\n" +
				"    RDS's standard support of 8.0 ended on 2026-07-31, and without Extended Support it refuses to create the instance. Set engineVersion: \"8.4\", or remove the line. It is fixed when the instance is created.",
		},
		{
			name: "instance class without db.",
			yaml: requiredKeys + "  instanceClass: t4g.micro\n",
			want: "config/dev.yaml:6:18: database.instanceClass: \"t4g.micro\" is not allowed\n" +
				"    Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.",
		},
		{
			name: "retired instance class",
			yaml: requiredKeys + "  instanceClass: db.t2.micro\n",
			want: "config/dev.yaml:6:18: database.instanceClass: \"db.t2.micro\" is not allowed\n" +
				"    Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.",
		},
		{
			name: "retired large instance class",
			yaml: requiredKeys + "  instanceClass: db.m4.large\n",
			want: "config/dev.yaml:6:18: database.instanceClass: \"db.m4.large\" is not allowed\n" +
				"    Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.",
		},
		{
			name: "Aurora's instance class",
			yaml: requiredKeys + "  instanceClass: db.serverless\n",
			want: "config/dev.yaml:6:18: database.instanceClass: \"db.serverless\" is not allowed\n" +
				"    Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.",
		},
		{
			name: "size that the family does not have",
			yaml: requiredKeys + "  instanceClass: db.m5.micro\n",
			want: "config/dev.yaml:6:18: database.instanceClass: \"db.m5.micro\" is not allowed\n" +
				"    Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.",
		},
		{
			name: "storage too small",
			yaml: requiredKeys + "  storageGiB: 19\n",
			want: "config/dev.yaml:6:15: database.storageGiB: 19 is not allowed\n" +
				"    Allowed: 20 to 65536.",
		},
		{
			name: "storage too large",
			yaml: requiredKeys + "  storageGiB: 65537\n",
			want: "config/dev.yaml:6:15: database.storageGiB: 65537 is not allowed\n" +
				"    Allowed: 20 to 65536.",
		},
		{
			name: "no backups",
			yaml: requiredKeys + "  backupRetentionDays: 0\n",
			want: "config/dev.yaml:6:24: database.backupRetentionDays: 0 is not allowed\n" +
				"    Allowed: 1 to 35. With 0 RDS keeps no backups, and nothing could be restored.",
		},
		{
			name: "backups too long",
			yaml: requiredKeys + "  backupRetentionDays: 36\n",
			want: "config/dev.yaml:6:24: database.backupRetentionDays: 36 is not allowed\n" +
				"    Allowed: 1 to 35. With 0 RDS keeps no backups, and nothing could be restored.",
		},
		{
			name: "cpu that Fargate does not have",
			yaml: requiredKeys + "service: {cpu: 300}\n",
			want: "config/dev.yaml:6:16: service.cpu: 300 is not allowed\n" +
				"    Allowed: 256, 512, 1024, 2048, 4096, 8192 or 16384.",
		},
		{
			name: "cpu that does not go with the default memory",
			yaml: requiredKeys + "service: {cpu: 1024}\n",
			want: "config/dev.yaml:6:16: service.cpu: 1024 does not go with the default memory of 512\n" +
				"    Set service.memory too. Allowed with cpu 1024: 2048 to 8192 in steps of 1024.",
		},
		{
			name: "memory that does not go with the default cpu",
			yaml: requiredKeys + "service: {memory: 4096}\n",
			want: "config/dev.yaml:6:19: service.memory: 4096 does not go with cpu 256\n" +
				"    Allowed with cpu 256: 512, 1024 or 2048.",
		},
		{
			name: "memory between the steps",
			yaml: requiredKeys + "service: {cpu: 8192, memory: 17408}\n",
			want: "config/dev.yaml:6:30: service.memory: 17408 does not go with cpu 8192\n" +
				"    Allowed with cpu 8192: 16384 to 61440 in steps of 4096.",
		},
		{
			name: "memory above all sizes",
			yaml: requiredKeys + "service: {memory: 131072}\n",
			want: "config/dev.yaml:6:19: service.memory: 131072 is not allowed\n" +
				"    Allowed: with cpu 256: 512, 1024 or 2048; with 512: 1024 to 4096; with 1024: 2048 to 8192; with 2048: 4096 to 16384; with 4096: 8192 to 30720, all in steps of 1024; with 8192: 16384 to 61440 in steps of 4096; with 16384: 32768 to 122880 in steps of 8192.",
		},
		{
			name: "architecture in Docker's word",
			yaml: requiredKeys + "architecture: arm64\n",
			want: "config/dev.yaml:6:15: architecture: \"arm64\" is not allowed\n" +
				"    Allowed: X86_64 or ARM64.",
		},
		{
			name: "no tasks",
			yaml: requiredKeys + "service: {desiredCount: 0}\n",
			want: "config/dev.yaml:6:25: service.desiredCount: 0 is not allowed\n" +
				"    Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.",
		},
		{
			name: "too many tasks",
			yaml: requiredKeys + "service: {desiredCount: 5001}\n",
			want: "config/dev.yaml:6:25: service.desiredCount: 5001 is not allowed\n" +
				"    Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.",
		},
		{
			name: "port 0",
			yaml: requiredKeys + "service: {containerPort: 0}\n",
			want: "config/dev.yaml:6:26: service.containerPort: 0 is not allowed\n" +
				"    Allowed: 1 to 65535.",
		},
		{
			name: "port too large",
			yaml: requiredKeys + "service: {containerPort: 65536}\n",
			want: "config/dev.yaml:6:26: service.containerPort: 65536 is not allowed\n" +
				"    Allowed: 1 to 65535.",
		},
		{
			name: "health check path without a slash",
			yaml: requiredKeys + "service: {healthCheckPath: health}\n",
			want: "config/dev.yaml:6:28: service.healthCheckPath: \"health\" is not allowed\n" +
				"    Allowed: a path that begins with /, with a query if need be, at most 1024 characters of a URI: no spaces and no #fragment.",
		},
		{
			name: "health check path with a space",
			yaml: requiredKeys + "service: {healthCheckPath: /a b}\n",
			want: "config/dev.yaml:6:28: service.healthCheckPath: \"/a b\" is not allowed\n" +
				"    Allowed: a path that begins with /, with a query if need be, at most 1024 characters of a URI: no spaces and no #fragment.",
		},
		{
			name: "health check code above 499",
			yaml: requiredKeys + "service: {healthCheckCodes: 200-599}\n",
			want: "config/dev.yaml:6:29: service.healthCheckCodes: \"200-599\" is not allowed\n" +
				"    Allowed: codes from 200 to 499, separated by commas, and ranges of them, the lower code first.",
		},
		{
			name: "health check code that is one letter short",
			yaml: requiredKeys + "service: {healthCheckCodes: 20}\n",
			want: "config/dev.yaml:6:29: service.healthCheckCodes: \"20\" is not allowed\n" +
				"    Allowed: codes from 200 to 499, separated by commas, and ranges of them, the lower code first.",
		},
		{
			name: "health check range backwards",
			yaml: requiredKeys + `service: {healthCheckCodes: "399-200"}` + "\n" + ``,
			want: "config/dev.yaml:6:29: service.healthCheckCodes: \"399-200\" is no range\n" +
				"    The lower code comes first, as in 200-399.",
		},
		{
			name: "health check range of one code",
			yaml: requiredKeys + "service: {healthCheckCodes: 200-200}\n",
			want: "config/dev.yaml:6:29: service.healthCheckCodes: \"200-200\" is one code, not a range\n" +
				"    Write 200.",
		},
		{
			name: "grace too long",
			yaml: requiredKeys + "service: {healthCheckGraceSeconds: 901}\n",
			want: "config/dev.yaml:6:36: service.healthCheckGraceSeconds: 901 is not allowed\n" +
				"    Allowed: 0 to 900. The pipeline waits at most 60 minutes for a deployment, and within them three tasks must have failed before ECS rolls it back.",
		},
		{
			name: "grace below zero",
			yaml: requiredKeys + "service: {healthCheckGraceSeconds: -1}\n",
			want: "config/dev.yaml:6:36: service.healthCheckGraceSeconds: -1 is not allowed\n" +
				"    Allowed: 0 to 900. The pipeline waits at most 60 minutes for a deployment, and within them three tasks must have failed before ECS rolls it back.",
		},
		{
			name: "log retention that CloudWatch Logs does not know",
			yaml: requiredKeys + "logRetentionDays: 10\n",
			want: "config/dev.yaml:6:19: logRetentionDays: 10 is not allowed\n" +
				"    Allowed: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653: CloudWatch Logs knows no other.",
		},
		{
			name: "variable's name with a hyphen",
			yaml: requiredKeys + "service: {environment: {LOG-LEVEL: x}}\n",
			want: "config/dev.yaml:6:25: service.environment.LOG-LEVEL: \"LOG-LEVEL\" cannot name an environment variable\n" +
				"    Allowed: letters, digits and underscores, the first no digit.",
		},
		{
			name: "variable's name with a digit first",
			yaml: requiredKeys + "service: {environment: {1X: x}}\n",
			want: "config/dev.yaml:6:25: service.environment[\"1X\"]: \"1X\" cannot name an environment variable\n" +
				"    Allowed: letters, digits and underscores, the first no digit.",
		},
		{
			name: "variable that the stacks set",
			yaml: requiredKeys + "service: {environment: {DATABASE_HOST: x}}\n",
			want: "config/dev.yaml:6:25: service.environment.DATABASE_HOST: the stacks set this variable themselves\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "port that is not the container's",
			yaml: requiredKeys + "service: {environment: {PORT: 8000}}\n",
			want: "config/dev.yaml:6:31: service.environment.PORT: \"8000\" is given, but PORT is always service.containerPort, here \"5000\"\n" +
				"    To listen on another port, set service.containerPort, and remove this line.",
		},
		{
			name: "port of another database",
			yaml: requiredKeys + "service: {environment: {DATABASE_PORT: 3307}}\n",
			want: "config/dev.yaml:6:40: service.environment.DATABASE_PORT: \"3307\" is given, but DATABASE_PORT is always the port of the database, here \"3306\"\n" +
				"    Remove this line: the port cannot be chosen.",
		},
		{
			name: "port from a secret",
			yaml: requiredKeys + "service: {secrets: {PORT: arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf}}\n",
			want: "config/dev.yaml:6:21: service.secrets.PORT: the stacks set this variable themselves\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "role of the application",
			yaml: requiredKeys + "service: {environment: {APP_ROLE: worker}}\n",
			want: "config/dev.yaml:6:25: service.environment.APP_ROLE: the stacks set this variable themselves\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "command without a word",
			yaml: requiredKeys + "service: {command: []}\n",
			want: "config/dev.yaml:6:20: service.command: [] is not allowed\n" +
				"    Allowed: a list of words of at most 4096 characters. No shell reads them; for one, write [sh, -c, \"exec gunicorn -b :$PORT app:app\"]. Together with `environment` and `secrets` at most 61440 bytes as JSON.",
		},
		{
			name: "command with a word that is too long",
			yaml: requiredKeys + "service: {command: [flask, " + strings.Repeat("x", 4097) + "]}\n",
			want: "config/dev.yaml:6:28: service.command[1]: the word has 4097 characters\n" +
				"    Allowed: 4096. Put a long script into the image.",
		},
		{
			name: "command with a control character",
			yaml: requiredKeys + "service: {command: [\"a\\0b\"], environment: {A: \"\\e[1m\"}}\n",
			want: "config/dev.yaml:6:21: service.command[0]: the value has the control character \"\\x00\"\n" +
				"    Remove it: of control characters a tab and a newline are allowed.\n" +
				"config/dev.yaml:6:47: service.environment.A: the value has the control character \"\\x1b\"\n" +
				"    Remove it: of control characters a tab and a newline are allowed.",
		},
		{
			name: "path with a percent sign",
			yaml: requiredKeys + "service: {healthCheckPath: /100%}\n",
			want: "config/dev.yaml:6:28: service.healthCheckPath: \"/100%\" is no path of a URL: after % come two digits from 0 to F\n" +
				"    Write %25 for the character % itself.",
		},
		{
			name: "policy without a name",
			yaml: requiredKeys + "service: {taskPolicyArns: [\"arn:aws:iam::aws:policy/x/\"]}\n",
			want: "config/dev.yaml:6:28: service.taskPolicyArns[0]: \"arn:aws:iam::aws:policy/x/\" is no ARN of a managed policy\n" +
				"    Allowed: arn:aws:iam::<account>:policy/<name>, as `aws iam list-policies` prints it; AWS's own have the account aws.",
		},
		{
			name: "command with a secret",
			yaml: requiredKeys + "service: {command: [run, \"mysql://me:secret@host/db\"]}\n",
			want: "config/dev.yaml:6:26: service.command[1]: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "command with a dynamic reference",
			yaml: requiredKeys + "service: {command: [\"{{resolve:ssm:a}}\"]}\n",
			want: "config/dev.yaml:6:21: service.command[0]: \"{{resolve:ssm:a}}\" is a dynamic reference, whose value CloudFormation would write into the task definition for all to read\n" +
				"    Name the ARN of the secret in service.secrets: ECS reads it when a task starts.",
		},
		{
			name: "command that ECS's task definition has no room for",
			yaml: requiredKeys + "service: {command: [" + strings.Repeat(strings.Repeat("x", 4096)+", ", 16) + "y]}\n",
			want: "config/dev.yaml:6:11: service.command: service.command, service.environment and service.secrets make 65588 bytes of the task definition\n" +
				"    Allowed: 61440, with the names and the JSON around them; ECS takes 65536 for the whole task definition. Put several values into one JSON secret without `:<key>::`, which reaches the application as a whole, and a long command into a script of the image.",
		},
		{
			name: "policy that is no ARN",
			yaml: requiredKeys + "service: {taskPolicyArns: [AmazonSESFullAccess]}\n",
			want: "config/dev.yaml:6:28: service.taskPolicyArns[0]: \"AmazonSESFullAccess\" is no ARN of a managed policy\n" +
				"    Allowed: arn:aws:iam::<account>:policy/<name>, as `aws iam list-policies` prints it; AWS's own have the account aws.",
		},
		{
			name: "policy of another account",
			yaml: requiredKeys + "account: 210987654321\nservice: {taskPolicyArns: [\"arn:aws:iam::aws:policy/AmazonSESFullAccess\", \"arn:aws:iam::123456789012:policy/mail\"]}\n",
			want: "config/dev.yaml:7:75: service.taskPolicyArns[1]: \"arn:aws:iam::123456789012:policy/mail\" is in the account 123456789012, the environment in 210987654321\n" +
				"    IAM attaches policies of the role's own account only: name one of the account 210987654321.",
		},
		{
			name: "key of a topic that is not there",
			yaml: requiredKeys + "notificationKeyArn: arn:aws:kms:us-east-1:123456789012:key/1234abcd\n",
			want: "config/dev.yaml:6:21: notificationKeyArn: there is no topic that the key could encrypt\n" +
				"    Add `notificationTopicArn`, or remove this key.",
		},
		{
			name: "AWS's own key for topics",
			yaml: requiredKeys + "notificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts\nnotificationKeyArn: alias/aws/sns\n",
			want: "config/dev.yaml:7:21: notificationKeyArn: \"alias/aws/sns\" is not allowed\n" +
				"    Allowed: the ARN of a KMS key, arn:aws:kms:<region>:<account>:key/<id>, together with `notificationTopicArn`.",
		},
		{
			name: "key of a topic in another region",
			yaml: requiredKeys + "notificationTopicArn: arn:aws:sns:us-east-1:123456789012:alerts\nnotificationKeyArn: arn:aws:kms:eu-west-1:123456789012:key/1234abcd\n",
			want: "config/dev.yaml:7:21: notificationKeyArn: \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd\" is in eu-west-1, the environment in us-east-1\n" +
				"    A topic is encrypted with a key of its own region: name the key in us-east-1.",
		},
		{
			name: "variable that ECS sets",
			yaml: requiredKeys + "service: {environment: {AWS_REGION: x}}\n",
			want: "config/dev.yaml:6:25: service.environment.AWS_REGION: ECS sets this variable itself\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "variable of ECS's prefix",
			yaml: requiredKeys + "service: {environment: {ECS_X: x}}\n",
			want: "config/dev.yaml:6:25: service.environment.ECS_X: ECS sets this variable itself\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "variable without a value",
			yaml: requiredKeys + "service: {environment: {LOG_LEVEL: ~}}\n",
			want: "config/dev.yaml:6:36: service.environment.LOG_LEVEL: no value is given\n" +
				"    Allowed: names of letters, digits and underscores, the first no digit, that neither the stacks nor ECS set; a value for each, \"\" for an empty one; at most 61440 bytes as JSON, together with `command` and `secrets`.",
		},
		{
			name: "variable with a dynamic reference",
			yaml: requiredKeys + "service: {environment: {KEY: '{{resolve:secretsmanager:api:SecretString:key}}'}}\n",
			want: "config/dev.yaml:6:30: service.environment.KEY: \"{{resolve:secretsmanager:api:SecretString:key}}\" is a dynamic reference, whose value CloudFormation would write into the task definition for all to read\n" +
				"    Name the ARN of the secret in service.secrets: ECS reads it when a task starts.",
		},
		{
			name: "variable with an access key",
			yaml: requiredKeys + "service: {environment: {KEY: AKIAIOSFODNN7EXAMPLE}}\n",
			want: "config/dev.yaml:6:30: service.environment.KEY: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "variable with a temporary access key",
			yaml: requiredKeys + "service: {environment: {KEY: x ASIAIOSFODNN7EXAMPLE}}\n",
			want: "config/dev.yaml:6:30: service.environment.KEY: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "variable named as a session token of AWS",
			yaml: requiredKeys + "service: {environment: {AWS_SESSION_TOKEN: x}}\n",
			want: "config/dev.yaml:6:44: service.environment.AWS_SESSION_TOKEN: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "variable with a private key",
			yaml: requiredKeys + `service: {environment: {KEY: "-----BEGIN RSA PRIVATE KEY-----"}}` + "\n" + ``,
			want: "config/dev.yaml:6:30: service.environment.KEY: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "variable with a password in a URL",
			yaml: requiredKeys + `service: {environment: {REDIS: "redis://:hunter2@cache/0"}}` + "\n" + ``,
			want: "config/dev.yaml:6:32: service.environment.REDIS: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "variable named as a secret key of AWS",
			yaml: requiredKeys + "service: {environment: {AWS_SECRET_ACCESS_KEY: x}}\n",
			want: "config/dev.yaml:6:48: service.environment.AWS_SECRET_ACCESS_KEY: the value looks like a secret, which templates and the console would show\n" +
				"    Keep it in Secrets Manager, name its ARN in service.secrets, and replace it: what has been in a file is known. For calls to AWS the task has a role.",
		},
		{
			name: "secret's name that the stacks set",
			yaml: requiredKeys + `service: {secrets: {FLASK_SECRET: "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf"}}` + "\n" + ``,
			want: "config/dev.yaml:6:21: service.secrets.FLASK_SECRET: the stacks set this variable themselves\n" +
				"    Remove it; other names are free.",
		},
		{
			name: "secret itself in place of its ARN",
			yaml: requiredKeys + "service: {secrets: {KEY: hunter2}}\n",
			want: "config/dev.yaml:6:26: service.secrets.KEY: the value is no ARN\n" +
				"    Keep the secret in Secrets Manager and name it here. Allowed: arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>, as `aws secretsmanager describe-secret` prints it, and for one key of a JSON secret `:<key>::` after it, all in quotes.",
		},
		{
			name: "secret's ARN without the six characters",
			yaml: requiredKeys + `service: {secrets: {KEY: "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe"}}` + "\n" + ``,
			want: "config/dev.yaml:6:26: service.secrets.KEY: \"arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe\" is not the full ARN of a secret\n" +
				"    Allowed: arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>, as `aws secretsmanager describe-secret` prints it, and for one key of a JSON secret `:<key>::` after it, all in quotes.",
		},
		{
			name: "secret's ARN with a key but without all colons",
			yaml: requiredKeys + `service: {secrets: {KEY: "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf:key"}}` + "\n" + ``,
			want: "config/dev.yaml:6:26: service.secrets.KEY: \"arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf:key\" is not the full ARN of a secret\n" +
				"    Allowed: arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>, as `aws secretsmanager describe-secret` prints it, and for one key of a JSON secret `:<key>::` after it, all in quotes.",
		},
		{
			name: "secret in another region",
			yaml: requiredKeys + `service: {secrets: {KEY: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stripe-AbCdEf"}}` + "\n" + ``,
			want: "config/dev.yaml:6:26: service.secrets.KEY: \"arn:aws:secretsmanager:eu-west-1:123456789012:secret:stripe-AbCdEf\" is in eu-west-1, the environment in us-east-1\n" +
				"    A task does not start while another region is down: replicate the secret to us-east-1 and name the replica's ARN.",
		},
		{
			name: "variables that ECS's task definition has no room for",
			yaml: requiredKeys + "service: {secrets: {KEY: \"arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf\"}, environment: {A: " + strings.Repeat("x", 61321) + "}}\n",
			want: "config/dev.yaml:6:97: service.environment: service.command, service.environment and service.secrets make 61441 bytes of the task definition\n" +
				"    Allowed: 61440, with the names and the JSON around them; ECS takes 65536 for the whole task definition. Put several values into one JSON secret without `:<key>::`, which reaches the application as a whole, and a long command into a script of the image.",
		},
		{
			name: "secrets that ECS's task definition has no room for",
			yaml: requiredKeys + manySecrets(591),
			want: "config/dev.yaml:7:3: service.secrets: service.command, service.environment and service.secrets make 61464 bytes of the task definition\n" +
				"    Allowed: 61440, with the names and the JSON around them; ECS takes 65536 for the whole task definition. Put several values into one JSON secret without `:<key>::`, which reaches the application as a whole, and a long command into a script of the image.",
		},
		{
			name: "name in both environment and secrets",
			yaml: requiredKeys + `service: {environment: {KEY: x}, secrets: {KEY: "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf"}}` + "\n" + ``,
			want: "config/dev.yaml:6:44: service.secrets.KEY: the name is in service.environment too\n" +
				"    Remove it in one of the two.",
		},
	})
}

// manySecrets is a section with n secrets.
func manySecrets(n int) string {
	var b strings.Builder
	b.WriteString("service:\n  secrets:\n")
	for i := range n {
		fmt.Fprintf(&b, "    KEY_%03d: arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-%03d-AbCdEf\n", i, i)
	}
	return b.String()
}

func TestParseAcceptsVariablesThatFitATaskDefinition(t *testing.T) {
	for name, file := range map[string]string{
		"secrets":          manySecrets(590),
		"a long variable":  "service: {environment: {A: " + strings.Repeat("x", 61440-len(`{"name":"A","value":""},`)) + "}}\n",
		"not ASCII's size": "service: {environment: {A: " + strings.Repeat("ü", (61440-len(`{"name":"A","value":""},`))/2) + "}}\n",
		"no HTML's escape": "service: {environment: {A: \"" + strings.Repeat("<", 61440-len(`{"name":"A","value":""},`)) + "\"}}\n",
	} {
		if _, err := Parse("config/dev.yaml", "dev", []byte(requiredKeys+file)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseReportsAllowances(t *testing.T) {
	const entry = "guard:\n  allow:\n    - {logicalId: Database, property: DBName, hash: 0123456789abcdef, reason: The database is empty.}\n"
	testRefusals(t, []refusal{
		{
			name: "hash of another form",
			yaml: requiredKeys + strings.Replace(entry, "0123456789abcdef", "0123", 1),
			want: "config/dev.yaml:8:53: guard.allow[0].hash: \"0123\" is not allowed\n" +
				"    Allowed: the 16 digits from 0 to 9 and a to f that the guard prints.",
		},
		{
			name: "no reason",
			yaml: requiredKeys + strings.Replace(entry, "The database is empty.", "ok", 1),
			want: "config/dev.yaml:8:79: guard.allow[0].reason: \"ok\" is not allowed\n" +
				"    Allowed: 10 to 500 characters.",
		},
		{
			name: "key missing",
			yaml: requiredKeys + strings.Replace(entry, "property: DBName, ", "", 1),
			want: "config/dev.yaml:8:7: guard.allow[0].property: missing\n" +
				"    Add it, as in `property: DBName`. Allowed: its name as the guard prints it; Resource where the whole resource goes.",
		},
		{
			name: "unknown key",
			yaml: requiredKeys + strings.Replace(entry, "reason", "because", 1),
			want: "config/dev.yaml:8:7: guard.allow[0].reason: missing\n" +
				"    Add it, as in `reason: The database is empty, and the application wants another name.`. Allowed: 10 to 500 characters.\n" +
				"config/dev.yaml:8:71: guard.allow[0].because: unknown key\n" +
				"    Known in guard.allow[0]: hash, logicalId, property, reason.",
		},
		{
			name: "twice the same change",
			yaml: requiredKeys + entry + "    - {logicalId: Database, property: DBName, hash: 0123456789abcdef, reason: Once more the same.}\n",
			want: "config/dev.yaml:9:7: guard.allow[1]: the change of Database.DBName with the hash 0123456789abcdef is allowed twice\n" +
				"    Remove one of the two.",
		},
	})
}
