package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/doc/comment"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	invopop "github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v4"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// example has a value for each key that has no default. The schema and the reference show them.
var example = Environment{
	Project:              "flask-app",
	Account:              "123456789012",
	Region:               "us-east-1",
	Tags:                 map[string]string{"team": "web"},
	BootstrapKmsKeyArn:   "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	NotificationTopicArn: "arn:aws:sns:us-east-1:123456789012:alerts",
	NotificationKeyArn:   "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	Network:              Network{AvailabilityZones: []string{"us-east-1a", "us-east-1b"}},
	Database:             Database{Name: "flaskdb", User: "admin"},
	Service: Service{
		Command:        []string{"gunicorn", "--config", "gunicorn.conf.py", "app:app"},
		TaskPolicyArns: []string{"arn:aws:iam::123456789012:policy/send-mail"},
		Environment:    map[string]string{"LOG_LEVEL": "info"},
		Secrets:        map[string]string{"STRIPE_KEY": "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf:key::"},
	},
	Pipeline: Pipeline{
		Repository:    "my-org/my-app",
		Paths:         []string{"app/**"},
		ConnectionArn: "arn:aws:codeconnections:us-east-1:123456789012:connection/aaaabbbb-1111-2222-3333-ccccddddeeee",
	},
	Guard: Guard{Allow: []Allowance{{
		LogicalID: "DatabaseInstanceAA8A5FDE", Property: "DBName", Hash: "0123456789abcdef",
		Reason: "The database is empty, and the application wants another name.",
	}}},
}

// unescape undoes what encoding/json does for HTML.
var unescape = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

func TestGeneratedFiles(t *testing.T) {
	environment := reflectSchema(t, "One environment of flask-on-fargate", Default(), example)
	delivery := reflectSchema(t, "The delivery pipeline of flask-on-fargate", DefaultDelivery(), deliveryExample)
	for file, want := range map[string]string{
		"schema.json":              document(t, environment),
		"delivery.schema.json":     document(t, delivery),
		"../docs/configuration.md": reference(environment, delivery),
	} {
		t.Run(file, func(t *testing.T) {
			if *update {
				if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(got), want); diff != "" {
				t.Errorf("%s is out of step with the structs, rewrite it with `go generate ./config` (-file +structs):\n%s", file, diff)
			}
		})
	}
}

func document(t *testing.T, s *invopop.Schema) string {
	t.Helper()
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return unescape.Replace(string(body)) + "\n"
}

// TestSample keeps the reference's YAML true: as it stands it is the defaults, without its comment marks it has every key.
func TestSample(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	sample, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("docs/configuration.md has no yaml block")
	}

	t.Run("as it stands it is the required keys and the defaults", func(t *testing.T) {
		want := Default()
		want.Name, want.Project, want.Region = "dev", example.Project, example.Region
		want.Database.Name, want.Database.User = example.Database.Name, example.Database.User
		got, err := Parse("sample", "dev", []byte(sample))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("without comment marks it has every key", func(t *testing.T) {
		var lines []string
		for line := range strings.Lines(sample) {
			code := strings.TrimLeft(line, " ")
			if strings.HasPrefix(code, "#") && !strings.HasPrefix(code, "# ") {
				line = strings.Replace(line, "#", "", 1)
			}
			lines = append(lines, line)
		}
		want := Default()
		fill(reflect.ValueOf(&want).Elem(), reflect.ValueOf(example))
		want.Name = "dev"
		got, err := Parse("sample", "dev", []byte(strings.Join(lines, "")))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// fill sets the zero fields of a struct to those of another.
func fill(to, from reflect.Value) {
	for i := range to.NumField() {
		switch f := to.Field(i); {
		case f.Kind() == reflect.Struct:
			fill(f, from.Field(i))
		case f.IsZero():
			f.Set(from.Field(i))
		}
	}
}

// reflectSchema returns the schema of a file that decodes into the type of defaults.
func reflectSchema(t *testing.T, title string, defaults, example any) *invopop.Schema {
	t.Helper()
	r := &invopop.Reflector{
		Anonymous:                  true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
	}
	if err := r.AddGoComments(reflect.TypeFor[Environment]().PkgPath(), "."); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // Go's name of a field in a comment becomes the key's
	for _, typ := range []reflect.Type{reflect.TypeFor[Environment](), reflect.TypeFor[Network](), reflect.TypeFor[Database](), reflect.TypeFor[Service](), reflect.TypeFor[Pipeline](), reflect.TypeFor[Delivery](), reflect.TypeFor[DeliveredEnvironment](), reflect.TypeFor[Guard](), reflect.TypeFor[Allowance]()} {
		for f := range typ.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			names[typ.PkgPath()+"."+typ.Name()+"."+f.Name] = key
		}
	}
	for name, text := range r.CommentMap {
		if key, isField := names[name]; isField {
			_, text, _ = strings.Cut(text, " ")
			text = key + " " + text
		}
		var paragraphs []string
		for p := range strings.SplitSeq(text, "\n\n") {
			paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
		}
		r.CommentMap[name] = strings.Join(paragraphs, "\n\n")
	}
	s := r.Reflect(defaults)
	s.Title = title
	annotate(s, plain(t, defaults), plain(t, example))
	return s
}

// plain returns a configuration as the values of its YAML.
func plain(t *testing.T, configuration any) map[string]any {
	t.Helper()
	data, err := yaml.Marshal(configuration)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// annotate adds the defaults, the examples of keys without one, and what editors say of a bad value.
func annotate(s *invopop.Schema, defaults, examples map[string]any) {
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		key, p := pair.Key, pair.Value
		if p.Properties != nil {
			annotate(p, defaults[key].(map[string]any), examples[key].(map[string]any))
			continue
		}
		if p.Items != nil && p.Items.Properties != nil { // its items are what the example's first one is
			item := examples[key].([]any)[0].(map[string]any)
			annotate(p.Items, map[string]any{"approval": false}, item)
		}
		if value, ok := defaults[key]; ok && value != "" && !isEmptyList(value) {
			p.Default = value
		} else {
			p.Examples = []any{examples[key]}
		}
		if _, text, ok := strings.Cut(p.Description, allowedMark); ok {
			p.Extras = map[string]any{"errorMessage": allowedMark + text}
		}
	}
}

func isEmptyList(value any) bool {
	list, isList := value.([]any)
	return isList && len(list) == 0
}

// deliveryExample has a value for each key of delivery.yaml that has no default.
var deliveryExample = Delivery{
	Project:       "flask-app",
	Account:       "123456789012",
	Region:        "us-east-1",
	Repository:    "my-org/my-infrastructure",
	ConnectionArn: "arn:aws:codeconnections:us-east-1:123456789012:connection/aaaabbbb-1111-2222-3333-ccccddddeeee",
	Environments:  []DeliveredEnvironment{{Name: "dev"}, {Name: "prod", Approval: true}},
}

const introduction = `# Configuration

<!-- Generated by "go generate ./config" from config/config.go. Do not edit. -->

One file is one environment: ` + "`config/dev.yaml`" + ` is the environment ` + "`dev`" + `, and ` + "`npx cdk deploy --all -c env=dev`" + ` deploys it. To add
one, add a file. Its name is of lowercase letters, digits and single hyphens; ` + "`delivery.yaml`" + ` is none of them.

A file is read strictly: an unknown key, a wrong type or a value that AWS would refuse stops ` + "`cdk synth`" + ` with all faults at once, each
with its line and what is allowed. YAML anchors, aliases and tags are not supported. Editors with the YAML language server complete
and check the file by the schema that its first line names.

This is every key. Four of them are required; the others show their default, or an example where they have none. To set one, remove
its comment mark, and that of the section it stands in.

`

const deliveryIntroduction = `
## The delivery pipeline

` + "`config/delivery.yaml`" + ` configures the pipeline that deploys the environments from this repository ([docs/delivery.md](delivery.md)). It is read with
` + "`-c delivery=true`" + ` only, as strictly as an environment's file.

`

func reference(environment, delivery *invopop.Schema) string {
	var b strings.Builder
	b.WriteString(introduction + "```yaml\n# yaml-language-server: $schema=schema.json\n")
	writeSample(&b, environment, "")
	b.WriteString("```\n" + deliveryIntroduction + "```yaml\n# yaml-language-server: $schema=delivery.schema.json\n")
	writeSample(&b, delivery, "")
	b.WriteString("```\n")
	return b.String()
}

func writeSample(b *strings.Builder, s *invopop.Schema, indent string) {
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		key, p := pair.Key, pair.Value
		isRequired := slices.Contains(s.Required, key)
		mark := "#"
		if isRequired {
			mark = ""
		}
		text := p.Description
		switch {
		case isRequired && p.Properties == nil:
			text += "\n\nRequired."
		case p.Properties == nil && p.Default == nil:
			text += "\n\nNo default."
		}
		printer := comment.Printer{TextPrefix: indent + "# ", TextWidth: 110}
		prose := string(printer.Text(new(comment.Parser).Parse(text)))
		fmt.Fprintf(b, "\n%s", strings.ReplaceAll(prose, indent+"#\n", ""))
		if p.Properties != nil {
			fmt.Fprintf(b, "%s%s%s:\n", indent, mark, key)
			writeSample(b, p, indent+"  ")
			continue
		}
		if isRequired && p.Items != nil && p.Items.Properties != nil {
			fmt.Fprintf(b, "%s%s%s:\n%s  -\n", indent, mark, key, indent)
			writeSample(b, p.Items, indent+"    ")
			continue
		}
		value := p.Default
		if value == nil {
			value = p.Examples[0]
		}
		if p.Items != nil && p.Items.Properties != nil {
			fmt.Fprintf(b, "%s%s%s:\n", indent, mark, key)
			writeList(b, indent+"  ", mark, p.Items, value.([]any))
			continue
		}
		writeValue(b, indent, mark, key, value)
	}
}

func writeValue(b *strings.Builder, indent, mark, key string, value any) {
	switch value := value.(type) {
	case []any:
		fmt.Fprintf(b, "%s%s%s: %v\n", indent, mark, key, strings.ReplaceAll(fmt.Sprint(value), " ", ", "))
	case map[string]any:
		fmt.Fprintf(b, "%s%s%s:\n", indent, mark, key)
		for k, v := range value {
			writeValue(b, indent+"  ", mark, k, v)
		}
	default:
		line, _ := yaml.Marshal(map[string]any{key: value})
		fmt.Fprintf(b, "%s%s%s", indent, mark, line)
	}
}

// writeList writes a list of mappings, each on a line of its own.
func writeList(b *strings.Builder, indent, mark string, s *invopop.Schema, items []any) {
	for _, item := range items {
		var pairs []string
		for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
			pairs = append(pairs, fmt.Sprintf("%s: %q", pair.Key, item.(map[string]any)[pair.Key]))
		}
		fmt.Fprintf(b, "%s%s- {%s}\n", indent, mark, strings.Join(pairs, ", "))
	}
}
