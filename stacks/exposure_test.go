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
		ids := references(group)
		if len(ids) != 1 {
			return fmt.Sprint(readable(group)) // no group of these stacks
		}
		return orName(names, ids[0])
	}
	add := func(group any, direction string, rule map[string]any, groupKey string) {
		var peers []string
		if rule[groupKey] != nil {
			peers = append(peers, name(rule[groupKey]))
		}
		for _, key := range []string{"CidrIp", "CidrIpv6", "SourcePrefixListId", "DestinationPrefixListId", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId"} {
			if rule[key] != nil {
				peers = append(peers, fmt.Sprint(readable(rule[key])))
			}
		}
		ports := ""
		if rule["FromPort"] != nil {
			ports = fmt.Sprintf("%v-%v", rule["FromPort"], rule["ToPort"])
		}
		rules = append(rules, fmt.Sprintf("%s %s %s %v %s", name(group), direction, strings.Join(peers, "+"), rule["IpProtocol"], ports))
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

// standing are the types of resource that wear security groups, and as what they stand in the network.
var standing = map[string]string{
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "balancer",
	"AWS::ECS::Service":                         "tasks",
	"Custom::SchemaInit":                        "tasks", // starts the schema task in the group of the application's
	"AWS::RDS::DBInstance":                      "database",
}

// harmless are the other types of resource: nothing outside reaches them but through AWS's API, as their policies say. A type that is
// not here must be judged first.
var harmless = []string{
	"AWS::CodeBuild::Project", "AWS::CodeConnections::Connection", "AWS::CodePipeline::Pipeline", "AWS::ECR::Repository", "AWS::ECS::Cluster", "AWS::ECS::TaskDefinition", "AWS::Events::Rule",
	"AWS::IAM::Policy", "AWS::IAM::Role", "AWS::IAM::RolePolicy", "AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::Logs::LogGroup", "AWS::RDS::DBParameterGroup", "AWS::RDS::EventSubscription",
	"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SecretsManager::Secret", "AWS::SecretsManager::SecretTargetAttachment", "AWS::StepFunctions::StateMachine",
	"AWS::CodeStarNotifications::NotificationRule", "Custom::S3AutoDeleteObjects", "Custom::SeedImage", "Custom::VpcRestrictDefaultSG",
	// The network itself, which checkNetwork looks at.
	"AWS::EC2::EIP", "AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
	"AWS::EC2::Subnet", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::EC2::VPCGatewayAttachment", "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup",
	"AWS::RDS::DBSubnetGroup",
}

// checkExposure computes who can reach what, from who wears which security group and what the groups allow, and compares it with the
// whole allowed set.
func checkExposure(env environment, cfg config.Environment) []string {
	var broken []string
	names := map[string]string{"0.0.0.0/0": "internet"}
	wearers := map[string][]string{} // roles of those that wear a group
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		role := standing[r.Type]
		if role == "" && !slices.Contains(harmless, r.Type) {
			broken = append(broken, fmt.Sprintf("%s is of type %s: judge who can reach it, and add it to a table of exposure_test.go", id, r.Type))
		}
		if strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") {
			continue
		}
		for _, group := range references(r.Properties) {
			if env.Resources[group].Type != "AWS::EC2::SecurityGroup" {
				continue
			}
			if role == "" {
				role = id
			}
			wearers[group] = append(wearers[group], role)
			names[group] = role
		}
	}
	for _, group := range slices.Sorted(maps.Keys(wearers)) {
		slices.Sort(wearers[group])
		if roles := slices.Compact(wearers[group]); len(roles) != 1 {
			broken = append(broken, fmt.Sprintf("%s is the security group of %q: each needs its own", group, roles))
		}
	}

	// A connection needs both ends' leave: what goes out of one group and in at the other. Who wears none of these groups has it.
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
	own := []string{"balancer", "tasks", "database"}
	reach := map[string]bool{}
	for r := range in {
		if !slices.Contains(own, r.from) || out[r] || out[rule{r.from, "internet", "-1 "}] {
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	for r := range out {
		if !slices.Contains(own, r.to) && r.to != "255.255.255.255/32" { // the library's form of nobody
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	wanted := []string{
		fmt.Sprintf("balancer → tasks tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
		"internet → balancer tcp 80-80", "tasks → database tcp 3306-3306", "tasks → internet -1 ",
	}
	if got := slices.Sorted(maps.Keys(reach)); !slices.Equal(got, wanted) {
		broken = append(broken, fmt.Sprintf("reachable are %q, want exactly %q", got, wanted))
	}
	return slices.Concat(broken, checkListeners(env, cfg), checkNetwork(env))
}

func orName(names map[string]string, id string) string {
	if names[id] != "" {
		return names[id]
	}
	return id
}

// checkListeners wants the load balancer to answer on port 80 only, and to pass that on to the application's tasks.
func checkListeners(env environment, cfg config.Environment) []string {
	var got []string
	for _, listener := range env.all("AWS::ElasticLoadBalancingV2::Listener") {
		way := fmt.Sprintf("%v %v", listener.Properties["Protocol"], listener.Properties["Port"])
		for _, action := range list(listener.Properties["DefaultActions"]) {
			for _, service := range env.all("AWS::ECS::Service") {
				for _, target := range list(service.Properties["LoadBalancers"]) {
					if slices.Equal(references(at(action, "TargetGroupArn")), references(at(target, "TargetGroupArn"))) {
						way += fmt.Sprintf(" → %v %v", at(target, "ContainerName"), at(target, "ContainerPort"))
					}
				}
			}
		}
		got = append(got, way)
	}
	if wanted := []string{fmt.Sprintf("HTTP 80 → app %d", cfg.Service.ContainerPort)}; !slices.Equal(got, wanted) {
		return []string{fmt.Sprintf("the listeners are %q, want exactly %q", got, wanted)}
	}
	return nil
}

// inSubnets are the types that may name a subnet, and whether a public or a private one.
var inSubnets = map[string]string{
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "public", "AWS::EC2::NatGateway": "public",
	"AWS::ECS::Service": "private", "AWS::RDS::DBSubnetGroup": "private", "Custom::SchemaInit": "private",
	"AWS::EC2::SubnetRouteTableAssociation": "public or private",
}

// checkNetwork wants the load balancer and NAT to be all that stands in public subnets or has a public address, and no other way in.
func checkNetwork(env environment) []string {
	var broken []string
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	kind := map[string]string{} // of each subnet
	for _, subnet := range env.all("AWS::EC2::Subnet") {
		kind[subnet.ID] = "private"
	}
	for _, route := range env.all("AWS::EC2::Route") {
		for way := range route.Properties {
			if !slices.Contains([]string{"RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId"}, way) {
				fail("%s has %s: a way that nobody judged", route.ID, way)
			}
		}
		if route.Properties["GatewayId"] == nil {
			continue
		}
		for _, association := range env.all("AWS::EC2::SubnetRouteTableAssociation") {
			if slices.Equal(references(association.Properties["RouteTableId"]), references(route.Properties["RouteTableId"])) {
				kind[references(association.Properties["SubnetId"])[0]] = "public"
			}
		}
	}
	if public := slices.DeleteFunc(slices.Collect(maps.Values(kind)), func(k string) bool { return k != "public" }); len(public) != 2 {
		fail("%d public subnets, want 2", len(public))
	}
	for _, subnet := range env.all("AWS::EC2::Subnet") {
		if kind[subnet.ID] != "public" && subnet.Properties["MapPublicIpOnLaunch"] == true {
			fail("%s is private and gives public addresses", subnet.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		for _, subnet := range references(r.Properties) {
			if kind[subnet] != "" && !strings.Contains(inSubnets[r.Type], kind[subnet]) {
				fail("%s, of type %s, is in the %s subnet %s", id, r.Type, kind[subnet], subnet)
			}
		}
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::LoadBalancer":
			if r.Properties["Scheme"] != "internet-facing" || r.Properties["IpAddressType"] != nil && r.Properties["IpAddressType"] != "ipv4" {
				fail("%s does not face the internet, by IPv4", id)
			}
		case "AWS::ECS::Service":
			if at(r.Properties, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") != "DISABLED" {
				fail("%s has tasks with a public address", id)
			}
		case "AWS::RDS::DBInstance":
			if r.Properties["PubliclyAccessible"] != false {
				fail("%s is publicly accessible", id)
			}
		case "AWS::EC2::VPCEndpoint":
			if r.Properties["VpcEndpointType"] != "Gateway" {
				fail("%s is no gateway endpoint: it has addresses and a security group", id)
			}
		case "AWS::EC2::EIP":
			if !slices.ContainsFunc(env.all("AWS::EC2::NatGateway"), func(nat resource) bool { return slices.Contains(references(nat.Properties["AllocationId"]), id) }) {
				fail("%s is the public address of something else than NAT", id)
			}
		case "AWS::EC2::VPC":
			if !slices.ContainsFunc(env.all("Custom::VpcRestrictDefaultSG"), func(closed resource) bool { return slices.Contains(references(closed.Properties), id) }) {
				fail("the default security group of %s is open", id)
			}
		case "AWS::S3::Bucket":
			for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if at(r.Properties, "PublicAccessBlockConfiguration", block) != true {
					fail("%s does not have %s", id, block)
				}
			}
		}
	}
	return broken
}

// TestAWayIntoTheNetworkIsNoticed adds to the templates of dev what opens them.
func TestAWayIntoTheNetworkIsNoticed(t *testing.T) {
	ingress := func(peer string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			group := env.byPath(t, "Data/Database/SecurityGroup/Resource").ID
			add("AWS::EC2::SecurityGroupIngress", `{"GroupId": {"Fn::GetAtt": ["`+group+`", "GroupId"]}, "IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, `+peer+`}`)(t, env)
		}
	}
	in := func(subnet, resourceType string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			add(resourceType, `{"SubnetId": {"Ref": "`+env.byPath(t, "Network/Network/"+subnet+"Subnet1/Subnet").ID+`"}}`)(t, env)
		}
	}
	balancer := func(t *testing.T, env environment) string {
		return `[{"Fn::GetAtt": ["` + env.byPath(t, "Service/Web/LB/SecurityGroup/Resource").ID + `", "GroupId"]}]`
	}
	const group = `"SecurityGroupIngress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]`
	wantNoticed(t, checkExposure, map[string]fault{
		"half the internet":      {ingress(`"CidrIp": "0.0.0.0/1"`), "0.0.0.0/1 → database tcp 3306-3306"},
		"a private range":        {ingress(`"CidrIp": "10.0.0.0/8"`), "10.0.0.0/8 → database tcp 3306-3306"},
		"IPv6":                   {ingress(`"CidrIpv6": "::/0"`), "::/0 → database tcp 3306-3306"},
		"a list of addresses":    {ingress(`"SourcePrefixListId": "pl-1234"`), "pl-1234 → database tcp 3306-3306"},
		"a group from elsewhere": {ingress(`"SourceSecurityGroupId": "sg-1234"`), "sg-1234 → database tcp 3306-3306"},
		"a range by parameter":   {ingress(`"CidrIp": {"Ref": "AWS::NoValue"}`), "${AWS::NoValue} → database tcp 3306-3306"},
		"the balancer to the database": {func(t *testing.T, env environment) {
			set("Data/Database/Instance/Resource", `{"VPCSecurityGroups": `+balancer(t, env)+`}`)(t, env)
		}, `is the security group of ["balancer" "database"]`},
		"the tasks in the balancer's group": {func(t *testing.T, env environment) {
			set("Service/Web/Service/Service", `{"NetworkConfiguration": {"AwsvpcConfiguration": {"AssignPublicIp": "DISABLED", "SecurityGroups": `+balancer(t, env)+`}}}`)(t, env)
		}, `is the security group of ["balancer" "tasks"]`},
		"a port of the balancer":       {set("Service/Web/LB/SecurityGroup/Resource", `{`+group+`}`), "internet → balancer -1 "},
		"the tasks from the internet":  {set("Service/TasksSecurityGroup/Resource", `{`+group+`}`), "internet → tasks -1 "},
		"a second listener":            {add("AWS::ElasticLoadBalancingV2::Listener", `{"Port": 8080, "Protocol": "HTTP"}`), "HTTP 8080"},
		"an instance":                  {in("Public", "AWS::EC2::Instance"), "is of type AWS::EC2::Instance: judge who can reach it"},
		"the database in public":       {in("Public", "AWS::RDS::DBSubnetGroup"), "is in the public subnet"},
		"NAT in private":               {in("Private", "AWS::EC2::NatGateway"), "is in the private subnet"},
		"a function with a URL":        {add("AWS::Lambda::Url", `{"AuthType": "NONE"}`), "is of type AWS::Lambda::Url"},
		"tasks with a public address":  {set("Service/Web/Service/Service", `{"NetworkConfiguration": {"AwsvpcConfiguration": {"AssignPublicIp": "ENABLED"}}}`), "has tasks with a public address"},
		"a public database":            {set("Data/Database/Instance/Resource", `{"PubliclyAccessible": true}`), "is publicly accessible"},
		"an address of something else": {add("AWS::EC2::EIP", `{}`), "the public address of something else than NAT"},
		"an interface endpoint":        {add("AWS::EC2::VPCEndpoint", `{"VpcEndpointType": "Interface"}`), "is no gateway endpoint"},
		"a way to another network":     {add("AWS::EC2::Route", `{"VpcPeeringConnectionId": "pcx-1"}`), "has VpcPeeringConnectionId: a way that nobody judged"},
		"IPv6 of the balancer":         {set("Service/Web/LB/Resource", `{"IpAddressType": "dualstack"}`), "does not face the internet, by IPv4"},
		"an open default group": {func(t *testing.T, env environment) {
			delete(env.Resources, env.one(t, "Custom::VpcRestrictDefaultSG").ID)
		}, "the default security group of"},
		"a public bucket": {set("Data/Bucket/Resource", `{"PublicAccessBlockConfiguration": {"BlockPublicAcls": true}}`), "does not have RestrictPublicBuckets"},
		"a private subnet with a route": {func(t *testing.T, env environment) {
			table := references(env.byPath(t, "Network/Network/PrivateSubnet1/DefaultRoute").Properties["RouteTableId"])[0]
			add("AWS::EC2::Route", `{"RouteTableId": {"Ref": "`+table+`"}, "GatewayId": "igw-1"}`)(t, env)
		}, "3 public subnets, want 2"},
	})
}
