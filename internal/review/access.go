package review

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
)

// names replaces logical ids and imports in the answers of the comparing program by the paths of constructs, which say more to a
// reader.
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
		resources, _ := s.Template.Resources() // were read with the assembly
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

// side is where something is: among the gains, among the losses, or among both.
type side int

const (
	gained side = 1 << iota
	lost
)

// balance holds on which sides something is.
type balance[K comparable] map[K]side

// on returns what is on one side only.
func (b balance[K]) on(only side) []K {
	var keys []K
	for k, s := range b {
		if s == only {
			keys = append(keys, k)
		}
	}
	return keys
}

// access is what an environment's stacks gain and lose.
type access struct {
	permissions balance[permission]
	reach       balance[reach]
}

// each calls add with everything that comes and goes.
func each[T any](additions change.Additions[T], add func(side, T)) {
	for _, item := range additions.Added {
		add(gained, item)
	}
	for _, item := range additions.Removed {
		add(lost, item)
	}
}

func (a access) add(n names, diff change.Diff) {
	each(diff.Permissions, func(on side, s change.Statement) { a.explode(on, n, s) })
	each(diff.ManagedPolicies, func(on side, p struct{ IdentityArn, ManagedPolicyArn string }) {
		a.permissions[permission{effect: "Allow", principal: n.in(p.IdentityArn), action: "the managed policy", resource: n.in(p.ManagedPolicyArn)}] |= on
	})
	each(diff.Ingress, func(on side, r change.SecurityRule) { a.rule(on, n, r, true) })
	each(diff.Egress, func(on side, r change.SecurityRule) { a.rule(on, n, r, false) })
}

// explode adds the single permissions of a statement, so that one more action is reported as one more action.
func (a access) explode(on side, n names, s change.Statement) {
	condition := ""
	if s.Condition != nil {
		data, _ := json.Marshal(s.Condition) // decoded JSON always encodes
		condition = n.in(string(data))
	}
	for _, action := range words(s.Actions) {
		for _, resource := range words(s.Resources) {
			for _, principal := range words(s.Principals) {
				principal = strings.TrimPrefix(strings.TrimPrefix(principal, "AWS:"), "Service:")
				a.permissions[permission{s.Effect, n.in(principal), action, n.in(resource), condition}] |= on
			}
		}
	}
}

func words(t change.Targets) []string {
	if t.Not {
		return []string{"all but " + strings.Join(t.Values, ", ")}
	}
	return t.Values
}

// noTraffic is the rule by which the CDK says that a group lets nothing out.
const noTraffic = "255.255.255.255/32"

func (a access) rule(on side, n names, r change.SecurityRule, ingress bool) {
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
	case !change.Equal(r.FromPort, r.ToPort):
		port += fmt.Sprintf("–%v", r.ToPort)
	}
	group := n.in(r.GroupID)
	if ingress {
		a.reach[reach{peer, group, port, "let in"}] |= on
	} else {
		a.reach[reach{group, peer, port, "let out"}] |= on
	}
}

func (a access) permissionItems() []item {
	return append(grouped("gained", a.permissions.on(gained)), grouped("lost", a.permissions.on(lost))...)
}

// grouped writes permissions that differ in their actions only as one item.
func grouped(word string, permissions []permission) []item {
	actions := map[permission][]string{}
	for _, p := range permissions {
		group := p
		group.action = ""
		actions[group] = append(actions[group], "`"+code(p.action)+"`")
	}
	var texts []string
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
		texts = append(texts, text)
	}
	return sortedItems(texts)
}

func (a access) reachItems() []item {
	write := func(word string, rules []reach) []item {
		var texts []string
		for _, r := range rules {
			texts = append(texts, fmt.Sprintf("%s: `%s` → `%s`, %s (%s)", word, code(r.from), code(r.to), r.port, r.side))
		}
		return sortedItems(texts)
	}
	return append(write("gained", a.reach.on(gained)), write("lost", a.reach.on(lost))...)
}
