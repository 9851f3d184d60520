// Package change finds out what a deployment does to the resources of stacks. It asks AWS's resource schemas about two templates, or
// CloudFormation about a change set. Both answers take the same form.
package change

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"flask-on-fargate/internal/assembly"
)

// Types of resources that rules name.
const (
	DatabaseType = "AWS::RDS::DBInstance"
	StackType    = "AWS::CloudFormation::Stack" // one of ours, for the properties that are in no template
)

// WholeResource stands for the resource itself, where a property is named.
const WholeResource = "Resource"

// Resource is what a deployment does to one resource.
type Resource struct {
	Stack      string
	LogicalID  string
	Path       string // of the construct; may be empty
	Type       string
	Removed    bool
	Old, New   assembly.Resource
	Properties []Property // by name
	Doubt      Doubt
}

// Property is a change of one property's value.
type Property struct {
	Name     string
	Old, New any // as in the templates, or the values themselves where only those differ
	Requires Recreation
	Certain  bool // Requires is what will happen, not what may happen
	Causes   []Cause
}

// Cause is a change of another resource. A property that refers to that resource gets another value.
type Cause struct {
	LogicalID string
	Property  string
	Old, New  any

	certain bool
}

// Recreation says whether a property's change makes CloudFormation replace the resource.
type Recreation int

// The words of AWS's schemas.
const (
	Never Recreation = iota
	Conditionally
	Always
)

// Doubt is why a resource may be deleted or replaced although no change of a property says so.
type Doubt int

// CloudFormation's reasons for a doubt.
const (
	NoDoubt     Doubt = iota
	Undecided         // CloudFormation knows only during the deployment
	RemovedYet        // CloudFormation removes the resource, although the new template has it
	Unexplained       // CloudFormation replaces the resource, and names no property that would explain that
)

// changedInPlace are the properties of a database that AWS's schema lists as "conditionally create-only", and that RDS changes
// in place whatever their values are: CloudFormation's reference says "some interruptions" of them. For any other property a
// conditional replacement counts as one.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.Settings.html
var changedInPlace = []string{
	"AutoMinorVersionUpgrade", "BackupRetentionPeriod", "DBParameterGroupName", "MultiAZ", "PreferredMaintenanceWindow", "StorageType",
}

// Replaces tells whether a change of a property replaces the resource, or may replace it.
func (r Resource) Replaces(p Property) bool { return replaces(r.Type, p.Name, p.Requires) }

func replaces(resourceType, property string, r Recreation) bool {
	if r == Conditionally && resourceType == DatabaseType && slices.Contains(changedInPlace, property) {
		return false
	}
	return r != Never
}

// Hash identifies the change for an allowance. It does not depend on how the change was found out.
func (p Property) Hash(logicalID string) string {
	data, err := json.Marshal([]any{logicalID, p.Name, p.Old, p.New, p.Causes})
	if err != nil {
		panic(err) // decoded JSON always encodes
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// terminationProtection is the change of a property of a stack that is in no template.
func terminationProtection(stack string, before, after bool) []Resource {
	if before == after {
		return nil
	}
	// An allowance has a logical id, in which no hyphen may be.
	return []Resource{{Stack: stack, LogicalID: strings.ReplaceAll(stack, "-", ""), Type: StackType, Properties: []Property{{
		Name: "TerminationProtection", Old: before, New: after, Certain: true,
	}}}}
}

// alteration is what is known of a property of a resource that stays.
type alteration struct {
	requires Recreation
	maybe    bool // its value is not known before the deployment
	known    bool // its value changes, even if no cause is found
	// causes are logical ids. If the value itself is the same, one of these resources must be replaced.
	causes   []string
	old, new any // values, where the templates do not differ
}

// builder makes the changes of one stack from its two templates and from alterations, by logical id and property.
type builder struct {
	stack    string
	old, new map[string]assembly.Resource
	updates  map[string]map[string]alteration
	doubts   map[string]Doubt
}

func newBuilder(p Pair) (builder, error) {
	older, newer, err := p.Resources()
	return builder{stack: p.Stack, old: older, new: newer, updates: map[string]map[string]alteration{}, doubts: map[string]Doubt{}}, err
}

func (b builder) changes() []Resource {
	var all []Resource
	for _, id := range slices.Sorted(maps.Keys(b.old)) {
		older, newer := b.old[id], b.new[id]
		_, stays := b.new[id]
		c := Resource{
			Stack: b.stack, LogicalID: id, Type: older.Type, Path: cmp.Or(newer.Path(), older.Path()),
			Old: older, New: newer, Doubt: b.doubts[id],
			Removed: !stays || newer.Type != older.Type,
		}
		for _, name := range slices.Sorted(maps.Keys(b.updates[id])) {
			if p, real := b.property(id, name); real && !c.Removed {
				c.Properties = append(c.Properties, p)
			}
		}
		policies := older.DeletionPolicy != newer.DeletionPolicy || older.UpdateReplacePolicy != newer.UpdateReplacePolicy
		if c.Removed || policies || c.Doubt != NoDoubt || len(c.Properties) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// property returns a change. It returns false if there is none, since the resource that the value refers to stays.
func (b builder) property(id, name string) (Property, bool) {
	u := b.updates[id][name]
	p := Property{Name: name, Requires: u.requires, Certain: !u.maybe}
	var differ bool
	p.Old, p.New, differ = b.values(id, name)
	if differ || u.old != nil || u.new != nil {
		return p, differ
	}
	for _, other := range u.causes {
		p.Causes = append(p.Causes, b.replacing(other, map[string]bool{id: true})...)
	}
	if len(u.causes) == 0 {
		return p, true
	}
	p.Certain = u.known || slices.ContainsFunc(p.Causes, func(c Cause) bool { return c.certain })
	return p, u.known || len(p.Causes) > 0
}

// values returns the values of a property before and after, and whether they differ: those of the templates, or, if these are the
// same, those that CloudFormation tells.
func (b builder) values(id, name string) (older, newer any, differ bool) {
	older, newer = b.old[id].Properties[name], b.new[id].Properties[name]
	if u := b.updates[id][name]; Equal(older, newer) && (u.old != nil || u.new != nil) {
		older, newer = u.old, u.new
	}
	return older, newer, !Equal(older, newer)
}

// replacing returns the changes that replace a resource, or none if the resource stays. Path holds the logical ids on the way to it.
func (b builder) replacing(id string, path map[string]bool) []Cause {
	if path[id] {
		return nil
	}
	path = maps.Clone(path)
	path[id] = true
	if b.doubts[id] != NoDoubt {
		return []Cause{{LogicalID: id, Property: WholeResource}}
	}
	var found []Cause
	for _, name := range slices.Sorted(maps.Keys(b.updates[id])) {
		u := b.updates[id][name]
		if !replaces(b.old[id].Type, name, u.requires) {
			continue
		}
		c := Cause{LogicalID: id, Property: name, certain: u.requires == Always && !u.maybe}
		var differ bool
		c.Old, c.New, differ = b.values(id, name)
		told := u.old != nil || u.new != nil
		if differ || !told && (len(u.causes) == 0 || u.known) {
			found = append(found, c)
		}
		for _, other := range u.causes {
			found = append(found, b.replacing(other, path)...)
		}
	}
	return found
}
