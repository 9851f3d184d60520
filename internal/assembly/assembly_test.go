package assembly_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/test/golden"
)

// write creates the files of an assembly, from their names and contents, and returns its directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		golden.Put(t, filepath.Join(dir, name), content)
	}
	return dir
}

func TestRead(t *testing.T) {
	const manifest = `{"artifacts": {"S": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "S.template.json"}}}}`

	t.Run("takes_metadata_from_the_manifest_too", func(t *testing.T) {
		stacks, err := assembly.Read(write(t, map[string]string{
			"manifest.json": `{"artifacts": {"S": {
				"type": "aws:cloudformation:stack", "environment": "aws://unknown-account/unknown-region",
				"properties": {"templateFile": "S.template.json"},
				"metadata": {"/S/A": [{"type": "aws:cdk:warning", "data": "inline [ack: id:a]"}]},
				"additionalMetadataFile": "S.metadata.json"}}}`,
			"S.metadata.json": `{"/S/B": [
				{"type": "aws:cdk:creationStack", "data": ["frame"]}, {"type": "aws:cdk:warning", "data": "in the file"}]}`,
			"S.template.json": `{"Resources": {}}`,
		}))
		if err != nil {
			t.Fatal(err)
		}
		want := []assembly.Warning{{Path: "S/A", Text: "inline", ID: "id:a"}, {Path: "S/B", Text: "in the file"}}
		if diff := cmp.Diff(want, stacks[0].Warnings); diff != "" {
			t.Errorf("warnings (-want +got)\n%s", diff)
		}
		if s := stacks[0]; s.Name != "S" || s.Environment() != "" || s.Account != "" || s.Region != "" {
			t.Errorf("stack without name, path and environment in the manifest: %+v", s)
		}
	})
	for name, test := range map[string]struct {
		files   map[string]string
		missing bool
		want    string
	}{
		"says_what_to_do_without_a_manifest":    {nil, true, "run `make synth`"},
		"says_what_to_do_without_a_template":    {map[string]string{"manifest.json": manifest}, true, "run `make synth`"},
		"says_what_to_do_about_a_broken_file":   {map[string]string{"manifest.json": `{"artifacts"`}, false, "manifest.json is not the JSON of a cloud assembly"},
		"says_which_section_is_not_a_templates": {map[string]string{"manifest.json": manifest, "S.template.json": `{"Resources": []}`}, false, "S.template.json: the section Resources is not that of a template"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := assembly.Read(write(t, test.files))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "make synth") {
				t.Fatalf("error %v, want it to contain %q and what to run", err, test.want)
			}
			if errors.Is(err, fs.ErrNotExist) != test.missing {
				t.Errorf("errors.Is(err, fs.ErrNotExist) = %v, want %v", !test.missing, test.missing)
			}
		})
	}
}
