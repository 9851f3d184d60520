package templatecheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Stacks are the suffixes of the names of an environment's stacks, in the order in which they are deployed.
var Stacks = []string{"network", "data", "service", "pipeline"}

// Resource is a resource of any of the stacks. Its references name the stack too: data.Bucket83908E77.
type Resource struct {
	ID                  string
	Type                string
	Properties          map[string]any
	DependsOn           []string
	DeletionPolicy      string
	UpdateReplacePolicy string
	Metadata            map[string]any
}

// Templates are decoded templates, of one environment or of the delivery, with the references between stacks resolved.
type Templates struct {
	Resources map[string]Resource
	Outputs   map[string]any // values, by stack and name: data.RdsEndpoint
	Sections  map[string]any // all of the templates but the resources, as it is, by stack and name: data.Parameters
}

// Decode reads the templates of stacks, given in the order in which they are deployed: a stack imports only from earlier ones.
func Decode(bodies map[string][]byte, stacks ...string) (Templates, error) {
	type output struct {
		Value  any
		Export struct{ Name string }
	}
	exports := map[string]any{}
	env := Templates{Resources: map[string]Resource{}, Outputs: map[string]any{}, Sections: map[string]any{}}
	for _, stack := range stacks {
		var file struct {
			Resources map[string]Resource
			Outputs   map[string]output
		}
		if err := json.Unmarshal(bodies[stack], &file); err != nil {
			return Templates{}, fmt.Errorf("the template of %s: %w", stack, err)
		}
		var sections map[string]any
		if err := json.Unmarshal(bodies[stack], &sections); err != nil {
			return Templates{}, fmt.Errorf("the template of %s: %w", stack, err)
		}
		delete(sections, "Resources")
		for name, section := range sections {
			env.Sections[stack+"."+name] = section
		}
		for id, r := range file.Resources {
			r.ID = stack + "." + id
			if r.Properties != nil {
				r.Properties = qualify(r.Properties, stack, exports).(map[string]any)
			}
			for i, dependency := range r.DependsOn {
				r.DependsOn[i] = stack + "." + dependency
			}
			env.Resources[r.ID] = r
		}
		for name, o := range file.Outputs {
			value := qualify(o.Value, stack, exports)
			if o.Export.Name != "" {
				exports[o.Export.Name] = value
			} else {
				env.Outputs[stack+"."+name] = value
			}
		}
	}
	return env, nil
}

// qualify prefixes references with the name of the stack and replaces imports by what was exported.
func qualify(node any, stack string, exports map[string]any) any {
	switch node := node.(type) {
	case []any:
		for i := range node {
			node[i] = qualify(node[i], stack, exports)
		}
	case map[string]any:
		if name, ok := node["Fn::ImportValue"].(string); ok {
			return exports[name]
		}
		if id, ok := node["Ref"].(string); ok && !strings.HasPrefix(id, "AWS::") {
			return map[string]any{"Ref": stack + "." + id}
		}
		if path, ok := node["Fn::GetAtt"].([]any); ok {
			return map[string]any{"Fn::GetAtt": []any{stack + "." + path[0].(string), path[1]}}
		}
		if template, ok := node["Fn::Sub"].(string); ok {
			node["Fn::Sub"] = substitution.ReplaceAllString(template, "$${"+stack+".$1}")
		}
		for key := range node {
			node[key] = qualify(node[key], stack, exports)
		}
	}
	return node
}

// qualified is such a reference after [qualify].
var qualified = regexp.MustCompile(`\$\{([a-z]+\.[A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}`)

// substitution is a reference to a resource, or to its attribute, in the template of Fn::Sub.
var substitution = regexp.MustCompile(`\$\{([A-Za-z0-9]+(?:\.[A-Za-z0-9.]+)?)\}`)

// All returns the resources of a type, sorted by id.
func (e Templates) All(resourceType string) []Resource {
	var found []Resource
	for _, id := range slices.Sorted(maps.Keys(e.Resources)) {
		if e.Resources[id].Type == resourceType {
			found = append(found, e.Resources[id])
		}
	}
	return found
}

// One returns the only resource of a type. Without exactly one the test fails.
func (e Templates) One(t testing.TB, resourceType string) Resource {
	t.Helper()
	found := e.All(resourceType)
	if len(found) != 1 {
		t.Fatalf("%d resources of type %s, want exactly one", len(found), resourceType)
	}
	return found[0]
}

// ByPath returns the only resource that the construct at path, or at a path that ends in it, defines. Without exactly one the test
// fails.
func (e Templates) ByPath(t testing.TB, path string) Resource {
	t.Helper()
	var found []Resource
	for _, r := range e.Resources {
		if full, _ := r.Metadata["aws:cdk:path"].(string); full == path || strings.HasSuffix(full, "/"+path) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d resources at %s, want one", len(found), path)
	}
	return found[0]
}

// At follows keys and indexes through decoded JSON, as in At(properties, "A", 0, "B"), and is nil where there is nothing.
func At(node any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := node.(map[string]any)
			node = object[step]
		case int:
			list, _ := node.([]any)
			if step >= len(list) {
				return nil
			}
			node = list[step]
		}
	}
	return node
}

// Text is the JSON of a value: for comparison and for messages.
func Text(value any) string {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// References returns the ids of the resources that node refers to.
func References(node any) []string {
	var ids []string
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			ids = append(ids, References(element)...)
		}
	case map[string]any:
		if id, ok := node["Ref"].(string); ok && !strings.HasPrefix(id, "AWS::") {
			return []string{id}
		}
		if path, ok := node["Fn::GetAtt"].([]any); ok {
			return []string{path[0].(string)}
		}
		if template, ok := node["Fn::Sub"].(string); ok {
			for _, id := range qualified.FindAllStringSubmatch(template, -1) {
				ids = append(ids, id[1])
			}
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			ids = append(ids, References(node[key])...)
		}
	}
	return ids
}

// Readable turns CloudFormation's functions into the notation of Fn::Sub.
func Readable(node any) any {
	object, ok := node.(map[string]any)
	if !ok {
		return node
	}
	switch {
	case object["Ref"] != nil:
		return fmt.Sprintf("${%v}", object["Ref"])
	case object["Fn::GetAtt"] != nil:
		return fmt.Sprintf("${%v.%v}", At(object, "Fn::GetAtt", 0), At(object, "Fn::GetAtt", 1))
	case object["Fn::Sub"] != nil:
		return object["Fn::Sub"]
	case object["Fn::Join"] != nil:
		var parts []string
		for _, part := range List(At(object, "Fn::Join", 1)) {
			parts = append(parts, fmt.Sprint(Readable(part)))
		}
		return strings.Join(parts, At(object, "Fn::Join", 0).(string))
	}
	result := map[string]any{}
	for key, value := range object {
		result[key] = Readable(value)
	}
	return result
}

// List is a value that IAM and CloudFormation allow as one or as several.
func List(value any) []any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		return value
	}
	return []any{value}
}

// Path is a resource's construct path below its environment.
func Path(r Resource) string {
	full, _ := r.Metadata["aws:cdk:path"].(string)
	_, below, _ := strings.Cut(full, "/")
	return below
}

// refersTo returns the only resource, of the type, that a value refers to.
func (e Templates) refersTo(resourceType string, value any) (id string, ok bool) {
	ids := References(value)
	if len(ids) != 1 || e.Resources[ids[0]].Type != resourceType {
		return "", false
	}
	return ids[0], true
}
