package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"flask-on-fargate/internal/assembly"
)

// names replaces logical ids and imports in what the program of [templateDiffDir] writes by the paths of constructs, which say
// more to a reader.
type names struct {
	paths   map[string]string            // of the stack's own resources, by logical id
	exports map[string]string            // paths of what other stacks export, by the export's name
	stacks  map[string]map[string]string // paths of each stack
}

func newNames(earlier, later []assembly.Stack) names {
	n := names{exports: map[string]string{}, stacks: map[string]map[string]string{}}
	for _, s := range slices.Concat(earlier, later) {
		if n.stacks[s.Name] == nil {
			n.stacks[s.Name] = map[string]string{}
		}
		paths := n.stacks[s.Name]
		resources, _ := s.Template.Resources() // an assembly that was read has them
		for id, r := range resources {
			if path := r.Path(); path != "" {
				paths[id] = path
			}
		}
		for _, o := range s.Outputs {
			for _, id := range assembly.References(o.Value) {
				if paths[id] != "" && o.Export != "" {
					n.exports[o.Export] = paths[id]
				}
			}
		}
	}
	return n
}

// of returns the names as one stack's templates use them.
func (n names) of(stack string) names {
	n.paths = n.stacks[stack]
	return n
}

var (
	tokenForm  = regexp.MustCompile(`\$\{([A-Za-z0-9]+)(?:\.[A-Za-z.]+)?\}`)
	importForm = regexp.MustCompile(`\{"Fn::ImportValue":"([^"]+)"\}`)
)

func (n names) in(text string) string {
	text = importForm.ReplaceAllStringFunc(text, func(token string) string {
		name := importForm.FindStringSubmatch(token)[1]
		return cmp.Or(n.exports[name], name)
	})
	return tokenForm.ReplaceAllStringFunc(text, func(token string) string {
		id := tokenForm.FindStringSubmatch(token)[1]
		return cmp.Or(n.paths[id], id)
	})
}

// permission is one action that one principal has, or is denied, on one resource.
type permission struct{ effect, principal, action, resource, condition string }

// reach is traffic that a security group lets through.
type reach struct{ from, to, port, side string }

// accessChanges collects what an environment's stacks gain and lose.
type accessChanges struct {
	gained, lost           map[permission]bool
	reachGained, reachLost map[reach]bool
}

func (a *accessChanges) add(n names, diff templateDiff) {
	for _, m := range []*map[permission]bool{&a.gained, &a.lost} {
		if *m == nil {
			*m = map[permission]bool{}
		}
	}
	for _, m := range []*map[reach]bool{&a.reachGained, &a.reachLost} {
		if *m == nil {
			*m = map[reach]bool{}
		}
	}
	for _, s := range diff.Permissions.Added {
		a.explode(a.gained, n, s)
	}
	for _, s := range diff.Permissions.Removed {
		a.explode(a.lost, n, s)
	}
	for into, policies := range map[*map[permission]bool][]struct{ IdentityArn, ManagedPolicyArn string }{
		&a.gained: diff.ManagedPolicies.Added, &a.lost: diff.ManagedPolicies.Removed,
	} {
		for _, m := range policies {
			(*into)[permission{effect: "Allow", principal: n.in(m.IdentityArn), action: "the managed policy", resource: n.in(m.ManagedPolicyArn)}] = true
		}
	}
	for _, rule := range diff.Ingress.Added {
		a.rule(a.reachGained, n, rule, true)
	}
	for _, rule := range diff.Ingress.Removed {
		a.rule(a.reachLost, n, rule, true)
	}
	for _, rule := range diff.Egress.Added {
		a.rule(a.reachGained, n, rule, false)
	}
	for _, rule := range diff.Egress.Removed {
		a.rule(a.reachLost, n, rule, false)
	}
}

// explode adds the single permissions of a statement, so that one more action is seen as one more action.
func (a *accessChanges) explode(into map[permission]bool, n names, s statement) {
	condition := ""
	if s.Condition != nil {
		data, _ := json.Marshal(s.Condition) // decoded JSON always encodes
		condition = n.in(string(data))
	}
	for _, action := range s.Actions.words() {
		for _, resource := range s.Resources.words() {
			for _, principal := range s.Principals.words() {
				into[permission{s.Effect, n.in(strings.TrimPrefix(strings.TrimPrefix(principal, "AWS:"), "Service:")), action, n.in(resource), condition}] = true
			}
		}
	}
}

func (t targets) words() []string {
	if t.Not {
		return []string{"all but " + strings.Join(t.Values, ", ")}
	}
	return t.Values
}

// noTraffic is the rule by which the CDK says that a group lets nothing out.
const noTraffic = "255.255.255.255/32"

func (a *accessChanges) rule(into map[reach]bool, n names, r securityRule, ingress bool) {
	peer := "?"
	if r.Peer != nil {
		peer = n.in(cmp.Or(r.Peer.IP, r.Peer.SecurityGroupID, r.Peer.PrefixListID))
	}
	switch peer {
	case noTraffic:
		return
	case "0.0.0.0/0":
		peer = "everyone (IPv4)"
	case "::/0":
		peer = "everyone (IPv6)"
	}
	port := fmt.Sprintf("%s %v", r.IPProtocol, r.FromPort)
	switch {
	case r.IPProtocol == "-1":
		port = "everything"
	case r.FromPort == nil:
		port = r.IPProtocol
	case !equal(r.FromPort, r.ToPort):
		port += fmt.Sprintf("–%v", r.ToPort)
	}
	group := n.in(r.GroupID)
	if ingress {
		into[reach{peer, group, port, "let in"}] = true
	} else {
		into[reach{group, peer, port, "let out"}] = true
	}
}

func (a *accessChanges) permissions() []item {
	return append(permissionItems("gained", without(a.gained, a.lost)), permissionItems("lost", without(a.lost, a.gained))...)
}

// permissionItems groups permissions that differ in their actions only.
func permissionItems(word string, permissions []permission) []item {
	type group struct{ effect, principal, resource, condition string }
	actions := map[group][]string{}
	for _, p := range permissions {
		g := group{p.effect, p.principal, p.resource, p.condition}
		actions[g] = append(actions[g], "`"+code(p.action)+"`")
	}
	var items []item
	for g, list := range actions {
		slices.Sort(list)
		verb := "may"
		if g.effect == "Deny" {
			verb = "must not"
		}
		text := fmt.Sprintf("%s: `%s` %s %s on `%s`", word, code(g.principal), verb, strings.Join(list, ", "), code(g.resource))
		if g.condition != "" {
			text += fmt.Sprintf(" if `%s`", code(g.condition))
		}
		items = append(items, item{Text: text})
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.Text, b.Text) })
	return items
}

func (a *accessChanges) reachability() []item {
	var items []item
	for _, list := range []struct {
		word  string
		rules []reach
	}{{"gained", without(a.reachGained, a.reachLost)}, {"lost", without(a.reachLost, a.reachGained)}} {
		var some []item
		for _, r := range list.rules {
			some = append(some, item{Text: fmt.Sprintf("%s: `%s` → `%s`, %s (%s)", list.word, code(r.from), code(r.to), r.port, r.side)})
		}
		slices.SortFunc(some, func(a, b item) int { return cmp.Compare(a.Text, b.Text) })
		items = append(items, some...)
	}
	return items
}

func without[K comparable](set, other map[K]bool) []K {
	return slices.DeleteFunc(slices.Collect(maps.Keys(set)), func(k K) bool { return other[k] })
}
