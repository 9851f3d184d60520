package templatecheck

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"flask-on-fargate/config"
)

// Rule is a rule of a security group: who wears the group, and what it lets in from or out to whom.
type Rule struct{ group, direction, peer, ports string }

func (r Rule) String() string {
	return fmt.Sprintf("%s %s %s %s", r.group, r.direction, r.peer, r.ports)
}

// peerKeys are the properties of a rule that say who is at the other end.
var peerKeys = []string{
	"SourceSecurityGroupId", "DestinationSecurityGroupId", "CidrIp", "CidrIpv6", "SourcePrefixListId", "DestinationPrefixListId",
	"SourceSecurityGroupName", "SourceSecurityGroupOwnerId",
}

// SecurityRules returns the rules of all groups, which go by names if they have one there, also EC2's own: a group that has no rule for
// what goes out lets everything out,
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ec2-securitygroup.html
func SecurityRules(env Templates, names map[string]string) []Rule {
	var rules []Rule
	limited := map[string]bool{} // groups that have a rule for what goes out
	name := func(value any) string {
		group, ok := env.refersTo("AWS::EC2::SecurityGroup", value)
		switch {
		case !ok:
			return shown(value)
		case names[group] == "":
			return group
		}
		return names[group]
	}
	add := func(group any, direction string, properties any) {
		peers, ports := []string{}, ""
		for _, key := range peerKeys {
			if peer := At(properties, key); peer != nil {
				peers = append(peers, name(peer))
			}
		}
		if len(peers) == 0 {
			peers = []string{shown(properties)}
		}
		if At(properties, "FromPort") != nil || At(properties, "ToPort") != nil {
			ports = fmt.Sprintf("%v-%v", At(properties, "FromPort"), At(properties, "ToPort"))
		}
		rules = append(rules, Rule{name(group), direction, strings.Join(peers, "+"), fmt.Sprintf("%v %s", At(properties, "IpProtocol"), ports)})
		if id, ok := env.refersTo("AWS::EC2::SecurityGroup", group); ok && direction == "out to" {
			limited[id] = true
		}
	}
	for _, r := range env.All("AWS::EC2::SecurityGroupIngress") {
		add(r.Properties["GroupId"], "in from", r.Properties)
	}
	for _, r := range env.All("AWS::EC2::SecurityGroupEgress") {
		add(r.Properties["GroupId"], "out to", r.Properties)
	}
	for _, group := range env.All("AWS::EC2::SecurityGroup") {
		self := map[string]any{"Ref": group.ID}
		for _, properties := range List(group.Properties["SecurityGroupIngress"]) {
			add(self, "in from", properties)
		}
		for _, properties := range List(group.Properties["SecurityGroupEgress"]) {
			add(self, "out to", properties)
		}
		if !limited[group.ID] {
			add(self, "out to", map[string]any{"CidrIp": "0.0.0.0/0", "IpProtocol": "-1"})
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(a.String(), b.String()) })
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
	"AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role", "AWS::IAM::RolePolicy", "AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::Logs::LogGroup", "AWS::RDS::DBParameterGroup", "AWS::RDS::EventSubscription",
	"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SecretsManager::Secret", "AWS::SecretsManager::SecretTargetAttachment", "AWS::StepFunctions::StateMachine",
	"Custom::S3AutoDeleteObjects", "Custom::SeedImage", "Custom::VpcRestrictDefaultSG",
	// The network itself, which checkNetwork looks at.
	"AWS::EC2::EIP", "AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
	"AWS::EC2::Subnet", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::EC2::VPCGatewayAttachment", "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup",
	"AWS::RDS::DBSubnetGroup",
}

// under returns the values, one by one, of all properties at any depth whose name matches.
func under(node any, name *regexp.Regexp) []any {
	var values []any
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			values = append(values, under(element, name)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			if name.MatchString(key) {
				values = append(values, List(node[key])...)
			} else {
				values = append(values, under(node[key], name)...)
			}
		}
	}
	return values
}

// The properties that name security groups, networks, subnets, public addresses and target groups, whatever the type of resource.
var (
	namesGroups  = regexp.MustCompile(`SecurityGroup`)
	namesVPC     = regexp.MustCompile(`^VpcId$`)
	namesSubnets = regexp.MustCompile(`^Subnet(s|Id|Ids|Mappings)$`)
	namesPublic  = regexp.MustCompile(`^(AssignPublicIp|AssociatePublicIpAddress|MapPublicIpOnLaunch|PubliclyAccessible)$`)
	namesTargets = regexp.MustCompile(`^TargetGroupArns?$`)
	namesIPv6    = regexp.MustCompile(`(?i)ipv6`)
)

// shown is a value as a message says it, whatever it is.
func shown(value any) string {
	if literal, ok := value.(string); ok {
		return literal
	}
	if At(value, "Ref") != nil || At(value, "Fn::GetAtt") != nil {
		return fmt.Sprint(Readable(value))
	}
	return Text(value)
}

// Exposure computes who can reach what, from who wears which security group and what the groups allow, and compares it with the
// whole allowed set.
func Exposure(env Templates, cfg config.Environment) []string {
	names, broken := wearers(env)
	rules := SecurityRules(env, names)
	for i := range rules {
		if rules[i].peer == "0.0.0.0/0" {
			rules[i].peer = "internet"
		}
	}
	reach := map[string]bool{}
	for _, r := range rules {
		if r.peer == "255.255.255.255/32" { // the library's form of nobody
			continue
		}
		way := fmt.Sprintf("%s → %s %s", r.group, r.peer, r.ports)
		if r.direction == "in from" {
			way = fmt.Sprintf("%s → %s %s", r.peer, r.group, r.ports)
		}
		answers := func(other Rule) bool {
			return other.direction != r.direction && other.group == r.peer && (other.peer == r.group && other.ports == r.ports || other == Rule{r.peer, "out to", "internet", "-1 "})
		}
		if slices.Contains(slices.Collect(maps.Values(names)), r.peer) && !slices.ContainsFunc(rules, answers) {
			way += " by the rules of one end" // wider than the other's, or of no use: neither is meant
		}
		reach[way] = true
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

// wearers returns, for each security group that is worn, as what its wearers stand in the network. It wants one group for each role,
// which nobody else wears.
func wearers(env Templates) (names map[string]string, broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	roles := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		role := standing[r.Type]
		if role == "" && !slices.Contains(harmless, r.Type) {
			fail("%s is of type %s: judge who can reach it, and add it to a table of internal/templatecheck/exposure.go", id, r.Type)
		}
		if strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") || r.Type == "Custom::VpcRestrictDefaultSG" {
			continue // they name groups, and wear none
		}
		for _, value := range under(r.Properties, namesGroups) {
			if _, ok := env.refersTo("AWS::EC2::SecurityGroup", value); !ok {
				fail("%s, of type %s, wears %s, which is no security group of these stacks", id, r.Type, shown(value))
			}
		}
		if role == "" {
			role = id
		} else if n := len(env.All(r.Type)); n != 1 {
			fail("%s is one of %d resources of type %s, want one", id, n, r.Type)
		}
		worn := slices.DeleteFunc(References(r.Properties), func(id string) bool { return env.Resources[id].Type != "AWS::EC2::SecurityGroup" })
		for _, group := range worn {
			roles[group] = append(roles[group], role)
		}
		if role != id && len(worn) == 0 { // EC2 gives it the default group of the VPC
			fail("%s, of type %s, wears no security group of these stacks", id, r.Type)
		}
	}
	names = map[string]string{}
	groups := map[string]string{} // of each role
	for _, group := range slices.Sorted(maps.Keys(roles)) {
		slices.Sort(roles[group])
		if roles[group] = slices.Compact(roles[group]); len(roles[group]) != 1 {
			fail("%s is the security group of %q: each needs its own", group, roles[group])
		}
		names[group] = strings.Join(roles[group], "+")
		if other := groups[names[group]]; other != "" {
			fail("%s wears %s and %s, want one security group", names[group], other, group)
		}
		groups[names[group]] = group
	}
	return names, broken
}

// checkListeners wants the load balancer to answer on port 80 only, and to pass that on to the application's tasks only.
func checkListeners(env Templates, cfg config.Environment) []string {
	var got, broken []string
	behind := map[string]string{} // each target group
	for _, service := range env.All("AWS::ECS::Service") {
		for _, target := range List(service.Properties["LoadBalancers"]) {
			group, ok := env.refersTo("AWS::ElasticLoadBalancingV2::TargetGroup", At(target, "TargetGroupArn"))
			if !ok {
				broken = append(broken, fmt.Sprintf("%s has tasks behind a load balancer from elsewhere: %s", service.ID, Text(target)))
			}
			behind[group] += fmt.Sprintf(" → %v %v", At(target, "ContainerName"), At(target, "ContainerPort"))
		}
		for _, way := range []string{"ServiceConnectConfiguration", "ServiceRegistries", "VpcLatticeConfigurations"} {
			if service.Properties[way] != nil {
				broken = append(broken, fmt.Sprintf("%s has %s: a way in that nobody judged", service.ID, way))
			}
		}
	}
	for _, group := range env.All("AWS::ElasticLoadBalancingV2::TargetGroup") {
		if group.Properties["TargetType"] != "ip" || group.Properties["Targets"] != nil {
			broken = append(broken, fmt.Sprintf("%s has targets of type %v, %s: want those of the service only", group.ID, group.Properties["TargetType"], Text(group.Properties["Targets"])))
		}
	}
	for _, listener := range env.All("AWS::ElasticLoadBalancingV2::Listener") {
		way := fmt.Sprintf("%v %v", listener.Properties["Protocol"], listener.Properties["Port"])
		if _, ok := env.refersTo("AWS::ElasticLoadBalancingV2::LoadBalancer", listener.Properties["LoadBalancerArn"]); !ok {
			way += " of " + shown(listener.Properties["LoadBalancerArn"])
		}
		for _, target := range under(listener.Properties["DefaultActions"], namesTargets) {
			if group, ok := env.refersTo("AWS::ElasticLoadBalancingV2::TargetGroup", target); ok && behind[group] != "" {
				way += behind[group]
			} else {
				way += " → " + shown(target)
			}
		}
		got = append(got, way)
	}
	if wanted := []string{fmt.Sprintf("HTTP 80 → app %d", cfg.Service.ContainerPort)}; !slices.Equal(got, wanted) {
		broken = append(broken, fmt.Sprintf("the listeners are %q, want exactly %q", got, wanted))
	}
	return broken
}

// inSubnets are the types that may name a subnet, and whether a public or a private one.
var inSubnets = map[string]string{
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "public", "AWS::EC2::NatGateway": "public",
	"AWS::ECS::Service": "private", "AWS::RDS::DBSubnetGroup": "private", "Custom::SchemaInit": "private",
	"AWS::EC2::SubnetRouteTableAssociation": "public or private",
}

// subnetKinds tells public subnets, those with a route to a gateway, from private ones, and wants all routes to lead to the internet.
func subnetKinds(env Templates) (kind map[string]string, broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	kind = map[string]string{}
	for _, subnet := range env.All("AWS::EC2::Subnet") {
		kind[subnet.ID] = "private"
	}
	for _, route := range env.All("AWS::EC2::Route") {
		for _, way := range slices.Sorted(maps.Keys(route.Properties)) {
			if !slices.Contains([]string{"RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId"}, way) {
				fail("%s has %s: a way that nobody judged", route.ID, way)
			}
		}
		_, internet := env.refersTo("AWS::EC2::InternetGateway", route.Properties["GatewayId"])
		_, nat := env.refersTo("AWS::EC2::NatGateway", route.Properties["NatGatewayId"])
		if internet == nat || route.Properties["DestinationCidrBlock"] != "0.0.0.0/0" {
			fail("%s does not lead from 0.0.0.0/0 to the internet gateway or NAT of these stacks: %s", route.ID, Text(route.Properties))
		}
		table, ok := env.refersTo("AWS::EC2::RouteTable", route.Properties["RouteTableId"])
		if !ok {
			fail("%s is in a route table from elsewhere", route.ID)
		}
		for _, association := range env.All("AWS::EC2::SubnetRouteTableAssociation") {
			subnet, _ := env.refersTo("AWS::EC2::Subnet", association.Properties["SubnetId"])
			if its, _ := env.refersTo("AWS::EC2::RouteTable", association.Properties["RouteTableId"]); its == table && kind[subnet] != "" && route.Properties["GatewayId"] != nil {
				kind[subnet] = "public"
			}
		}
	}
	if public := slices.DeleteFunc(slices.Collect(maps.Values(kind)), func(k string) bool { return k != "public" }); len(public) != 2 {
		fail("%d public subnets, want 2", len(public))
	}
	return kind, broken
}

// checkNetwork wants the load balancer and NAT to be all that stands in public subnets or has a public address, and no other way in.
func checkNetwork(env Templates) []string {
	kind, broken := subnetKinds(env)
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		for _, subnet := range References(r.Properties) {
			if kind[subnet] != "" && !strings.Contains(inSubnets[r.Type], kind[subnet]) {
				fail("%s, of type %s, is in the %s subnet %s", id, r.Type, kind[subnet], subnet)
			}
		}
		for _, value := range under(r.Properties, namesSubnets) {
			if _, ok := env.refersTo("AWS::EC2::Subnet", value); !ok {
				fail("%s, of type %s, is in %s, which is no subnet of these stacks", id, r.Type, shown(value))
			}
		}
		for _, value := range under(r.Properties, namesVPC) {
			if _, ok := env.refersTo("AWS::EC2::VPC", value); !ok {
				fail("%s, of type %s, is in %s, which is no VPC of these stacks", id, r.Type, shown(value))
			}
		}
		for _, value := range under(r.Properties, namesPublic) {
			if value != "DISABLED" && value != false {
				fail("%s, of type %s, has or gives a public address", id, r.Type)
			}
		}
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::LoadBalancer":
			if r.Properties["Scheme"] != "internet-facing" || r.Properties["IpAddressType"] != nil && r.Properties["IpAddressType"] != "ipv4" {
				fail("%s does not face the internet, by IPv4", id)
			}
		case "AWS::ECS::Service": // which gives addresses to its tasks, if this is not set
			if At(r.Properties, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") != "DISABLED" {
				fail("%s does not say that AssignPublicIp is DISABLED", id)
			}
		case "AWS::RDS::DBInstance": // which is public in a default VPC, if these are not set
			if r.Properties["PubliclyAccessible"] != false {
				fail("%s does not say that PubliclyAccessible is false", id)
			}
			if _, ok := env.refersTo("AWS::RDS::DBSubnetGroup", r.Properties["DBSubnetGroupName"]); !ok {
				fail("%s is in the subnets of %s, want a group of these stacks", id, shown(r.Properties["DBSubnetGroupName"]))
			}
		case "AWS::EC2::VPCEndpoint":
			if r.Properties["VpcEndpointType"] != "Gateway" {
				fail("%s is no gateway endpoint: it has addresses and a security group", id)
			}
		case "AWS::EC2::VPCGatewayAttachment":
			if _, ok := env.refersTo("AWS::EC2::InternetGateway", r.Properties["InternetGatewayId"]); !ok || r.Properties["VpnGatewayId"] != nil {
				fail("%s attaches something else than the internet gateway: %s", id, Text(r.Properties))
			}
		case "AWS::EC2::Subnet":
			if under(r.Properties, namesIPv6) != nil {
				fail("%s has IPv6, which NAT does not hide", id)
			}
		case "AWS::EC2::EIP":
			if !slices.ContainsFunc(env.All("AWS::EC2::NatGateway"), func(nat Resource) bool { return slices.Contains(References(nat.Properties["AllocationId"]), id) }) {
				fail("%s is the public address of something else than NAT", id)
			}
		case "AWS::EC2::VPC":
			if !slices.ContainsFunc(env.All("Custom::VpcRestrictDefaultSG"), func(closed Resource) bool {
				return shown(closed.Properties["DefaultSecurityGroupId"]) == "${"+id+".DefaultSecurityGroup}"
			}) {
				fail("the default security group of %s is open", id)
			}
		case "AWS::S3::Bucket":
			for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if At(r.Properties, "PublicAccessBlockConfiguration", block) != true {
					fail("%s does not have %s", id, block)
				}
			}
		}
	}
	return broken
}

// JudgedTypes are all types of resource that the tables of this file know. One that no template has any more is to be taken out.
func JudgedTypes() []string {
	return slices.Concat(harmless, slices.Collect(maps.Keys(standing)), slices.Collect(maps.Keys(inSubnets)))
}
