package stacks_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
)

func TestSecurityGroupsAllowExactly(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		names := map[string]string{
			env.byPath(t, "Service/Web/LB/SecurityGroup/Resource").ID: "balancer",
			env.byPath(t, "Service/TasksSecurityGroup/Resource").ID:   "tasks",
			env.byPath(t, "Data/Database/SecurityGroup/Resource").ID:  "database",
		}
		wanted := []string{
			"balancer in from 0.0.0.0/0 tcp 80-80",
			fmt.Sprintf("balancer out to tasks tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
			"database in from tasks tcp 3306-3306",
			"database out to 255.255.255.255/32 icmp 252-86", // the library's form of nothing
			fmt.Sprintf("tasks in from balancer tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
			"tasks out to 0.0.0.0/0 -1 ",
		}
		if diff := cmp.Diff(wanted, securityRules(env, names)); diff != "" {
			t.Errorf("security group rules (-want +got)\n%s", diff)
		}
	})
}

func securityRules(env environment, names map[string]string) []string {
	var rules []string
	name := func(group any) string {
		id := references(group)[0]
		if names[id] != "" {
			return names[id]
		}
		return id
	}
	add := func(group any, direction string, rule map[string]any, peer string) {
		other, ok := rule["CidrIp"].(string)
		if !ok {
			other = name(rule[peer])
		}
		ports := ""
		if rule["FromPort"] != nil {
			ports = fmt.Sprintf("%v-%v", rule["FromPort"], rule["ToPort"])
		}
		rules = append(rules, fmt.Sprintf("%s %s %s %v %s", name(group), direction, other, rule["IpProtocol"], ports))
	}
	for _, group := range env.all("AWS::EC2::SecurityGroup") {
		self := map[string]any{"Ref": group.ID}
		for _, rule := range list(group.Properties["SecurityGroupIngress"]) {
			add(self, "in from", rule.(map[string]any), "SourceSecurityGroupId")
		}
		for _, rule := range list(group.Properties["SecurityGroupEgress"]) {
			add(self, "out to", rule.(map[string]any), "DestinationSecurityGroupId")
		}
	}
	for _, rule := range env.all("AWS::EC2::SecurityGroupIngress") {
		add(rule.Properties["GroupId"], "in from", rule.Properties, "SourceSecurityGroupId")
	}
	for _, rule := range env.all("AWS::EC2::SecurityGroupEgress") {
		add(rule.Properties["GroupId"], "out to", rule.Properties, "DestinationSecurityGroupId")
	}
	slices.Sort(rules)
	return rules
}

// checkExposure computes who can reach what, over security groups, routes and public addresses, and compares it with the
// whole allowed set.
func checkExposure(env environment, cfg config.Environment) []string {
	names := map[string]string{"0.0.0.0/0": "internet"}
	for _, r := range env.all("AWS::EC2::SecurityGroup") {
		switch pathOf(r) {
		case "Service/Web/LB/SecurityGroup/Resource":
			names[r.ID] = "balancer"
		case "Service/TasksSecurityGroup/Resource":
			names[r.ID] = "tasks"
		case "Data/Database/SecurityGroup/Resource":
			names[r.ID] = "database"
		}
	}
	// A connection needs both ends' leave: what goes out of one group and in at the other.
	type rule struct{ from, to, port string }
	out, in := map[rule]bool{}, map[rule]bool{}
	for _, line := range securityRules(env, names) {
		var group, direction, preposition, peer, protocol, ports string
		fmt.Sscan(line, &group, &direction, &preposition, &peer, &protocol, &ports)
		peer = orName(names, peer)
		port := protocol + " " + ports
		if direction == "in" {
			in[rule{peer, group, port}] = true
		} else {
			out[rule{group, peer, port}] = true
		}
	}
	groups := []string{"balancer", "tasks", "database"}
	reach := map[string]bool{}
	for r := range in {
		leaves := r.from == "internet" || out[r] || out[rule{r.from, "internet", "-1 "}]
		if leaves {
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	for r := range out {
		if r.to == "internet" {
			reach[fmt.Sprintf("%s → internet %s", r.from, r.port)] = true
		} else if !slices.Contains(groups, r.to) && !strings.HasPrefix(r.to, "255.255.255.255") {
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	wanted := []string{
		fmt.Sprintf("balancer → tasks tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
		"internet → balancer tcp 80-80", "tasks → database tcp 3306-3306", "tasks → internet -1 ",
	}
	var broken []string
	if got := slices.Sorted(maps.Keys(reach)); !slices.Equal(got, wanted) {
		broken = append(broken, fmt.Sprintf("reachable are %q, want exactly %q", got, wanted))
	}
	return append(broken, checkPublicAddresses(env)...)
}

func orName(names map[string]string, id string) string {
	if names[id] != "" {
		return names[id]
	}
	return id
}

// checkPublicAddresses wants only the load balancer, NAT and nothing else in public subnets, and no public address elsewhere.
func checkPublicAddresses(env environment) []string {
	public := map[string]bool{} // subnets with a route to the internet gateway
	for _, route := range env.all("AWS::EC2::Route") {
		if route.Properties["GatewayId"] == nil {
			continue
		}
		for _, association := range env.all("AWS::EC2::SubnetRouteTableAssociation") {
			if slices.Equal(references(association.Properties["RouteTableId"]), references(route.Properties["RouteTableId"])) {
				public[references(association.Properties["SubnetId"])[0]] = true
			}
		}
	}
	inPublic := func(node any) bool {
		return slices.ContainsFunc(references(node), func(id string) bool { return public[id] })
	}
	var broken []string
	if len(public) != 2 {
		broken = append(broken, fmt.Sprintf("%d public subnets, want 2", len(public)))
	}
	for _, subnet := range env.all("AWS::EC2::Subnet") {
		if !public[subnet.ID] && subnet.Properties["MapPublicIpOnLaunch"] == true {
			broken = append(broken, subnet.ID+" is private and gives public addresses")
		}
	}
	for _, r := range env.Resources {
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::LoadBalancer":
			if r.Properties["Scheme"] != "internet-facing" || !inPublic(r.Properties["Subnets"]) {
				broken = append(broken, r.ID+" does not face the internet")
			}
		case "AWS::ECS::Service":
			awsvpc := at(r.Properties, "NetworkConfiguration", "AwsvpcConfiguration")
			if at(awsvpc, "AssignPublicIp") != "DISABLED" || inPublic(at(awsvpc, "Subnets")) {
				broken = append(broken, r.ID+" has tasks with a public address or in a public subnet")
			}
		case "AWS::RDS::DBSubnetGroup":
			if inPublic(r.Properties["SubnetIds"]) {
				broken = append(broken, r.ID+" holds a public subnet")
			}
		case "AWS::RDS::DBInstance":
			if r.Properties["PubliclyAccessible"] != false {
				broken = append(broken, r.ID+" is publicly accessible")
			}
		case "Custom::SchemaInit":
			if inPublic(r.Properties["Subnets"]) {
				broken = append(broken, r.ID+" runs its task in a public subnet")
			}
		case "AWS::S3::Bucket":
			for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if at(r.Properties, "PublicAccessBlockConfiguration", block) != true {
					broken = append(broken, fmt.Sprintf("%s does not have %s", r.ID, block))
				}
			}
		}
	}
	slices.Sort(broken)
	return broken
}
