package toolchain

import (
	"strings"
	"testing"
)

const (
	goMod       = "module m\n\ngo 1.26.0\n\ntoolchain go1.26.8\n\nignore ./node_modules\n"
	packageJSON = `{"devDependencies": {"aws-cdk": "2.1148.1", "node": "24.21.0"}}`
)

func TestRead(t *testing.T) {
	got, err := Read([]byte(goMod), []byte(packageJSON))
	if want := (Versions{Go: "1.26.8", Node: "24.21.0"}); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got.GoMinor() != "1.26" {
		t.Errorf("minor version %s", got.GoMinor())
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ goMod, packageJSON, want string }{
		"no toolchain":    {"module m\n\ngo 1.26.0\n", packageJSON, "go.mod pins no toolchain"},
		"no patch number": {strings.Replace(goMod, "1.26.8", "1.26", 1), packageJSON, "go.mod pins no toolchain"},
		"no node":         {goMod, `{}`, `devDependencies.node is ""`},
		"range of nodes":  {goMod, `{"devDependencies": {"node": "^24.0.0"}}`, `devDependencies.node is "^24.0.0"`},
		"not JSON":        {goMod, `{`, "package.json: "},
		"not a go.mod":    {"module", packageJSON, "go.mod:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Read([]byte(test.goMod), []byte(test.packageJSON)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
