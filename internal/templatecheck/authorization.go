package templatecheck

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Statement is one statement of a policy.
type Statement struct {
	Holder     string // the role or resource that has the policy; statements of one holder are judged together
	Denies     bool
	OfResource bool // in the policy of a resource, which speaks for this resource only: a bucket's, a key's, a role's trust
	Actions    []string
	Resources  []string       // ARNs without references, or *; where a resource's policy names none, the ARN of the resource
	Condition  map[string]any // as in the policy: by operator, then by key
}

// Authorization returns a sentence for each fault of the statements:
//   - An action that the reference does not have, or a wildcard for none.
//   - An action on ARNs of which none is of a resource type of the action. An action without resource types needs *. A
//     wildcard may stand for such actions too, as long as one fits.
//   - An action that a role is allowed and that requires several resource types, of which one is not among the ARNs.
//     Statements of the same holder on the same condition count too.
//   - An ARN that is of no resource type of any action of its statement.
//   - A condition key that is not global and that neither the action nor its resource types know.
func Authorization(statements []Statement) []string {
	var faults []string
	for _, s := range statements {
		before := len(faults)
		fail := func(action, format string, args ...any) {
			faults = append(faults, s.Holder+": "+action+" "+fmt.Sprintf(format, args...))
		}
		on := strings.Join(s.Resources, ", ")
		var ofStatement []action
		for _, pattern := range s.Actions {
			all := named(pattern)
			ofStatement = append(ofStatement, all...)
			fitting := slices.DeleteFunc(slices.Clone(all), func(a action) bool { return !slices.ContainsFunc(s.Resources, a.canBeOn) })
			switch {
			case len(all) == 0:
				fail(pattern, "is not in the data: correct it, or add it to iamdata/condense.js and run `make authorization-data`, which says whether AWS has it")
			case len(fitting) == 0 && len(all) > 1:
				fail(pattern, "stands on %s, which is no resource of its %d actions: correct the ARN", on, len(all))
			case len(fitting) == 0 && len(all[0].types) == 0:
				fail(pattern, "stands on %s, but the action has no resource types: let it stand on *", on)
			case len(fitting) == 0:
				fail(pattern, "stands on %s, but its resource is %s: correct the ARN", on, forms(all[0].types))
			}
			for _, missing := range missingTypes(fitting, s, statements) {
				fail(pattern, "stands on %s, but requires %s as well: add this ARN", on, missing)
			}
			for _, key := range unknownKeys(fitting, s) {
				fail(pattern, "has the condition key %s, which is not global, and which neither the action nor its resource knows: correct it", key)
			}
		}
		for _, arn := range s.Resources {
			if len(faults) == before && !slices.ContainsFunc(ofStatement, func(a action) bool { return a.canBeOn(arn) }) {
				fail(strings.Join(s.Actions, ", "), "stands on %s, which is no resource of any of these actions: correct the ARN or take it out", arn)
			}
		}
	}
	return faults
}

// missingTypes returns the resource types that actions require and that no statement of the holder allows them on, on the
// condition of s.
func missingTypes(actions []action, s Statement, statements []Statement) []string {
	if s.Denies || s.OfResource {
		return nil
	}
	var missing []string
	for _, a := range actions {
		for _, t := range a.types {
			covers := func(other Statement) bool {
				return other.Holder == s.Holder && !other.Denies && reflect.DeepEqual(other.Condition, s.Condition) &&
					slices.ContainsFunc(other.Actions, a.is) && slices.ContainsFunc(other.Resources, t.isOf)
			}
			if t.required && !slices.ContainsFunc(statements, covers) {
				missing = append(missing, forms([]resourceType{t}))
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(missing)))
}

// unknownKeys returns the condition keys of s that none of the actions knows.
func unknownKeys(actions []action, s Statement) []string {
	if len(actions) == 0 {
		return nil
	}
	allowed := slices.Clone(reference().Global)
	for _, a := range actions {
		allowed = append(allowed, a.Keys...)
		for _, t := range a.types {
			if slices.ContainsFunc(s.Resources, t.isOf) {
				allowed = append(allowed, t.Keys...)
			}
		}
	}
	var unknown []string
	for _, operator := range slices.Sorted(maps.Keys(s.Condition)) {
		keys, _ := s.Condition[operator].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if !slices.ContainsFunc(allowed, func(form string) bool { return isKey(key, form) }) {
				unknown = append(unknown, key)
			}
		}
	}
	return unknown
}

// keyVariable is the part of a condition key that the policy chooses, in the ways in which AWS writes it.
var keyVariable = regexp.MustCompile(`\$\{[^}]*\}|<[^>]*>|tag-key$`)

// isKey says whether a condition key has a form such as aws:ResourceTag/${TagKey}. IAM ignores the case.
func isKey(key, form string) bool {
	return overlap(strings.ToLower(key), keyVariable.ReplaceAllString(strings.ToLower(form), string(rune(anything))))
}

// action is an action of the reference.
type action struct {
	Required, Optional []string // resource types
	Keys               []string // condition keys

	name  string // with the service
	types []resourceType
}

// resourceType is a resource type of an action.
type resourceType struct {
	ARN  string // with variables: arn:${Partition}:s3:::${BucketName}
	Keys []string

	name     string
	form     string // see [form]
	required bool
}

// named returns the actions of a name, which may have wildcards. The case counts, unlike for IAM.
func named(pattern string) []action {
	if one, ok := reference().actions[pattern]; ok {
		return []action{one}
	}
	return slices.DeleteFunc(slices.Collect(maps.Values(reference().actions)), func(a action) bool { return !a.is(pattern) })
}

func (a action) is(pattern string) bool {
	matched, err := path.Match(pattern, a.name)
	return matched && err == nil
}

func (a action) canBeOn(arn string) bool {
	return arn == "*" || slices.ContainsFunc(a.types, func(t resourceType) bool { return t.isOf(arn) })
}

func (t resourceType) isOf(arn string) bool { return overlap(arn, t.form) }

// forms writes resource types out.
func forms(types []resourceType) string {
	var all []string
	for _, t := range types {
		all = append(all, fmt.Sprintf("%s (%s)", t.name, t.ARN))
	}
	return strings.Join(all, " or ")
}

// What a variable of an ARN stands for: one or more characters, but not the excluded ones.
const (
	aName    = iota + 1 // before a slash, or all that follows the account: a bucket
	aPath               // a log group before its stream
	anything            // at the end: an object
)

var excluded = [...]string{aName: ":/", aPath: ":", anything: ""}

// form replaces the variables of an ARN of the reference by these characters.
func form(arn string) string {
	var b strings.Builder
	for {
		before, rest, variable := strings.Cut(arn, "${")
		b.WriteString(before)
		if !variable {
			return b.String()
		}
		_, arn, _ = strings.Cut(rest, "}")
		alone := strings.HasSuffix(before, ":") && strings.Count(b.String(), ":") == 5
		switch {
		case strings.HasPrefix(arn, "/") || arn == "" && alone:
			b.WriteByte(aName)
		case arn == "":
			b.WriteByte(anything)
		default:
			b.WriteByte(aPath)
		}
	}
}

// overlap says whether an ARN with the wildcards of a policy can be one of a form.
func overlap(arn, form string) bool {
	switch {
	case arn == "":
		return form == ""
	case arn[0] == '*':
		return overlap(arn[1:], form) || form != "" && overlap(arn, form[1:])
	case form == "":
		return false
	case form[0] <= anything:
		return !strings.Contains(excluded[form[0]], arn[:1]) && (overlap(arn[1:], form) || overlap(arn[1:], form[1:]))
	}
	return (arn[0] == '?' || arn[0] == form[0]) && overlap(arn[1:], form[1:])
}

//go:embed testdata/authorization.json
var authorizationJSON []byte

type authorization struct {
	Global   []string // condition keys
	Services map[string]struct {
		Actions map[string]action
		Types   map[string]resourceType
	}

	actions map[string]action // by their names with the service
}

var reference = sync.OnceValue(func() authorization {
	data := authorization{actions: map[string]action{}}
	if err := json.Unmarshal(authorizationJSON, &data); err != nil {
		panic("templatecheck: testdata/authorization.json: " + err.Error())
	}
	for service, s := range data.Services {
		for name, a := range s.Actions {
			a.name = service + ":" + name
			for _, typeName := range slices.Concat(a.Required, a.Optional) {
				t := s.Types[typeName]
				t.name, t.form, t.required = typeName, form(t.ARN), slices.Contains(a.Required, typeName)
				a.types = append(a.types, t)
			}
			data.actions[a.name] = a
		}
	}
	return data
})
