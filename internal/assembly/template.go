package assembly

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Template is a whole CloudFormation template, as decoded from JSON.
type Template map[string]any

// Resource is one resource of a template.
type Resource struct {
	Type                string
	Properties          map[string]any
	DeletionPolicy      string
	UpdateReplacePolicy string
	Metadata            map[string]any
}

// Path is the path of the construct that defines the resource, or "".
func (r Resource) Path() string {
	path, _ := r.Metadata["aws:cdk:path"].(string)
	for _, generated := range []string{"/Resource", "/Default"} { // ids that the library appends to the construct's own
		path = strings.TrimSuffix(path, generated)
	}
	return strings.TrimSuffix(path, "/Resource")
}

// Resources returns the template's resources by logical id.
func (t Template) Resources() (map[string]Resource, error) {
	var found map[string]Resource
	err := t.section("Resources", &found)
	return found, err
}

func (t Template) section(name string, into any) error {
	if err := convert(t[name], into); err != nil {
		return fmt.Errorf("the section %s is not that of a template: %w", name, err)
	}
	return nil
}

// convert gives decoded JSON a type.
func convert(value, into any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// outputs returns the outputs of a stack's template, sorted by name.
func (t Template) outputs(stack string) ([]Output, error) {
	var found map[string]struct {
		Description string
		Value       any
		Export      struct{ Name any }
	}
	err := t.section("Outputs", &found)
	var outputs []Output
	for _, name := range slices.Sorted(maps.Keys(found)) {
		o := found[name]
		export, _ := o.Export.Name.(string)
		outputs = append(outputs, Output{
			Name: name, Description: o.Description, Value: o.Value, Export: export,
			// The name that aws-cdk-lib gives the export of a strong cross-stack reference.
			Generated: strings.HasPrefix(name, "ExportsOutput") && export == stack+":"+name,
		})
	}
	return outputs, err
}

// References returns the logical ids that a value of a template refers to, sorted.
func References(value any) []string {
	ids := map[string]bool{}
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			if id, ok := v["Ref"].(string); ok {
				ids[id] = true
			}
			if of, ok := v["Fn::GetAtt"].([]any); ok && len(of) > 0 {
				if id, ok := of[0].(string); ok {
					ids[id] = true
				}
			}
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(value)
	return slices.Sorted(maps.Keys(ids))
}
