// Package toolchain reads the versions that the project pins, so that nothing else needs to write them down again.
package toolchain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/modfile"
)

// Versions are those of the compiler and of Node.js.
type Versions struct {
	Go   string // of go.mod's toolchain, as in 1.26.8
	Node string // of package.json's dependency "node", as in 24.21.0
}

// GoMinor is Go without its last number, as in 1.26.
func (v Versions) GoMinor() string {
	return v.Go[:strings.LastIndexByte(v.Go, '.')]
}

// Read takes the versions from the content of go.mod and package.json.
func Read(goMod, packageJSON []byte) (Versions, error) {
	module, err := modfile.Parse("go.mod", goMod, nil)
	if err != nil {
		return Versions{}, err
	}
	if module.Toolchain == nil || strings.Count(module.Toolchain.Name, ".") != 2 {
		return Versions{}, errors.New("go.mod pins no toolchain: add a line as in `toolchain go1.26.8`")
	}
	var npm struct {
		DevDependencies map[string]string `json:"devDependencies"`
	}
	if err := json.Unmarshal(packageJSON, &npm); err != nil {
		return Versions{}, fmt.Errorf("package.json: %w", err)
	}
	node := npm.DevDependencies["node"]
	if node == "" || strings.Trim(node, "0123456789.") != "" {
		return Versions{}, fmt.Errorf("package.json: devDependencies.node is %q: want one exact version, as in 24.21.0", node)
	}
	return Versions{Go: strings.TrimPrefix(module.Toolchain.Name, "go"), Node: node}, nil
}
