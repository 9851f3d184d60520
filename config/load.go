package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// reservedName is the name of a file beside the environments' that is none of them: the delivery pipeline's.
const reservedName = "delivery"

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Load reads the environment called name from <dir>/<name>.yaml. What is wrong in the file is returned as [Faults], all of it
// at once; any other error says that the file could not be read, or names the environments that exist.
func Load(dir, name string) (Environment, error) {
	return load(dir, name, nil)
}

// load is [Load] with one rule more.
func load(dir, name string, rule func(*report, Environment)) (Environment, error) {
	if err := checkName(name); err != nil {
		return Environment{}, err
	}
	file := filepath.Join(dir, name+".yaml")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Environment{}, unknownName(dir, name)
	}
	if err != nil {
		return Environment{}, fmt.Errorf("the environment %q could not be read: %w", name, err)
	}
	return parse(filepath.ToSlash(file), name, data, rule)
}

// Parse is [Load] of a file's content. File is what the messages call it.
func Parse(file, name string, data []byte) (Environment, error) {
	return parse(file, name, data, nil)
}

func parse(file, name string, data []byte, rule func(*report, Environment)) (Environment, error) {
	if err := checkName(name); err != nil {
		return Environment{}, err
	}
	r := newReport(file, form{
		schema: environmentSchema(),
		is:     "one environment",
		needs:  "project, region, database.name and database.user",
	})
	env := Default()
	env.Name = name
	if values, ok := r.read(data); ok {
		r.checkSchema(values)
		if err := decode(values, &env); err != nil {
			return Environment{}, fmt.Errorf("%s: decode what the schema accepted: %w", file, err)
		}
		env.validate(r)
		if rule != nil {
			rule(r, env)
		}
	}
	if err := r.err(); err != nil {
		return Environment{}, err
	}
	return env, nil
}

// Names returns the names of the environments in dir, sorted: its *.yaml files without the extension, but for delivery.yaml.
// A file whose name cannot be an environment's is an error.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the environments could not be listed: %w", err)
	}
	var names []string
	for _, entry := range entries {
		name, isYAML := strings.CutSuffix(entry.Name(), ".yaml")
		if !isYAML || entry.IsDir() || strings.HasPrefix(name, ".") || name == reservedName {
			continue
		}
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(filepath.ToSlash(dir), entry.Name()), err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func checkName(name string) error {
	if name == reservedName {
		return fmt.Errorf("%q cannot name an environment: %s.yaml configures the delivery pipeline; choose another name", name, reservedName)
	}
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%q cannot name an environment: use lowercase letters, digits and single hyphens, the first a letter, the last no hyphen, as in dev or eu-prod", name)
	}
	return nil
}

func unknownName(dir, name string) error {
	names, err := Names(dir)
	if err != nil {
		return fmt.Errorf("there is no environment %q: %w", name, err)
	}
	file := path.Join(filepath.ToSlash(dir), name)
	if _, err := os.Stat(filepath.FromSlash(file + ".yml")); err == nil {
		return fmt.Errorf("there is no environment %q: rename %s.yml to %s.yaml", name, file, name)
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no environment %q, nor any other: create %s.yaml", name, file)
	}
	return fmt.Errorf("there is no environment %q: choose one of %s, or create %s.yaml", name, strings.Join(names, ", "), file)
}
