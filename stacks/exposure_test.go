package stacks_test

import (
	"fmt"
	"maps"
	"regexp"
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
		var got []string
		for _, rule := range securityRules(env, names) {
			got = append(got, rule.String())
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("security group rules (-want +got)\n%s", diff)
		}
	})
}

// rule is a rule of a security group: who wears the group, and what it lets in from or out to whom.
type rule struct{ group, direction, peer, ports string }

func (r rule) String() string {
	return fmt.Sprintf("%s %s %s %s", r.group, r.direction, r.peer, r.ports)
}

// peerKeys are the properties of a rule that say who is at the other end.
var peerKeys = []string{
	"SourceSecurityGroupId", "DestinationSecurityGroupId", "CidrIp", "CidrIpv6", "SourcePrefixListId", "DestinationPrefixListId",
	"SourceSecurityGroupName", "SourceSecurityGroupOwnerId",
}

// securityRules returns the rules of all groups, also EC2's own: a group that has no rule for what goes out lets everything out,
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ec2-securitygroup.html
func securityRules(env environment, names map[string]string) []rule {
	var rules []rule
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
			if peer := at(properties, key); peer != nil {
				peers = append(peers, name(peer))
			}
		}
		if len(peers) == 0 {
			peers = []string{shown(properties)}
		}
		if at(properties, "FromPort") != nil || at(properties, "ToPort") != nil {
			ports = fmt.Sprintf("%v-%v", at(properties, "FromPort"), at(properties, "ToPort"))
		}
		rules = append(rules, rule{name(group), direction, strings.Join(peers, "+"), fmt.Sprintf("%v %s", at(properties, "IpProtocol"), ports)})
		if id, ok := env.refersTo("AWS::EC2::SecurityGroup", group); ok && direction == "out to" {
			limited[id] = true
		}
	}
	for _, r := range env.all("AWS::EC2::SecurityGroupIngress") {
		add(r.Properties["GroupId"], "in from", r.Properties)
	}
	for _, r := range env.all("AWS::EC2::SecurityGroupEgress") {
		add(r.Properties["GroupId"], "out to", r.Properties)
	}
	for _, group := range env.all("AWS::EC2::SecurityGroup") {
		self := map[string]any{"Ref": group.ID}
		for _, properties := range list(group.Properties["SecurityGroupIngress"]) {
			add(self, "in from", properties)
		}
		for _, properties := range list(group.Properties["SecurityGroupEgress"]) {
			add(self, "out to", properties)
		}
		if !limited[group.ID] {
			add(self, "out to", map[string]any{"CidrIp": "0.0.0.0/0", "IpProtocol": "-1"})
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.String(), b.String()) })
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
				values = append(values, list(node[key])...)
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
	if at(value, "Ref") != nil || at(value, "Fn::GetAtt") != nil {
		return fmt.Sprint(readable(value))
	}
	return text(value)
}

// refersTo returns the only resource, of the type, that a value refers to.
func (e environment) refersTo(resourceType string, value any) (id string, ok bool) {
	ids := references(value)
	if len(ids) != 1 || e.Resources[ids[0]].Type != resourceType {
		return "", false
	}
	return ids[0], true
}

// checkExposure computes who can reach what, from who wears which security group and what the groups allow, and compares it with the
// whole allowed set.
func checkExposure(env environment, cfg config.Environment) []string {
	names, broken := wearers(env)
	rules := securityRules(env, names)
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
		answers := func(other rule) bool {
			return other.direction != r.direction && other.group == r.peer && (other.peer == r.group && other.ports == r.ports || other == rule{r.peer, "out to", "internet", "-1 "})
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
func wearers(env environment) (names map[string]string, broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	roles := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		role := standing[r.Type]
		if role == "" && !slices.Contains(harmless, r.Type) {
			fail("%s is of type %s: judge who can reach it, and add it to a table of exposure_test.go", id, r.Type)
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
		} else if n := len(env.all(r.Type)); n != 1 {
			fail("%s is one of %d resources of type %s, want one", id, n, r.Type)
		}
		worn := slices.DeleteFunc(references(r.Properties), func(id string) bool { return env.Resources[id].Type != "AWS::EC2::SecurityGroup" })
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
func checkListeners(env environment, cfg config.Environment) []string {
	var got, broken []string
	behind := map[string]string{} // each target group
	for _, service := range env.all("AWS::ECS::Service") {
		for _, target := range list(service.Properties["LoadBalancers"]) {
			group, ok := env.refersTo("AWS::ElasticLoadBalancingV2::TargetGroup", at(target, "TargetGroupArn"))
			if !ok {
				broken = append(broken, fmt.Sprintf("%s has tasks behind a load balancer from elsewhere: %s", service.ID, text(target)))
			}
			behind[group] += fmt.Sprintf(" → %v %v", at(target, "ContainerName"), at(target, "ContainerPort"))
		}
		for _, way := range []string{"ServiceConnectConfiguration", "ServiceRegistries", "VpcLatticeConfigurations"} {
			if service.Properties[way] != nil {
				broken = append(broken, fmt.Sprintf("%s has %s: a way in that nobody judged", service.ID, way))
			}
		}
	}
	for _, group := range env.all("AWS::ElasticLoadBalancingV2::TargetGroup") {
		if group.Properties["TargetType"] != "ip" || group.Properties["Targets"] != nil {
			broken = append(broken, fmt.Sprintf("%s has targets of type %v, %s: want those of the service only", group.ID, group.Properties["TargetType"], text(group.Properties["Targets"])))
		}
	}
	for _, listener := range env.all("AWS::ElasticLoadBalancingV2::Listener") {
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
func subnetKinds(env environment) (kind map[string]string, broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	kind = map[string]string{}
	for _, subnet := range env.all("AWS::EC2::Subnet") {
		kind[subnet.ID] = "private"
	}
	for _, route := range env.all("AWS::EC2::Route") {
		for _, way := range slices.Sorted(maps.Keys(route.Properties)) {
			if !slices.Contains([]string{"RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId"}, way) {
				fail("%s has %s: a way that nobody judged", route.ID, way)
			}
		}
		_, internet := env.refersTo("AWS::EC2::InternetGateway", route.Properties["GatewayId"])
		_, nat := env.refersTo("AWS::EC2::NatGateway", route.Properties["NatGatewayId"])
		if internet == nat || route.Properties["DestinationCidrBlock"] != "0.0.0.0/0" {
			fail("%s does not lead from 0.0.0.0/0 to the internet gateway or NAT of these stacks: %s", route.ID, text(route.Properties))
		}
		table, ok := env.refersTo("AWS::EC2::RouteTable", route.Properties["RouteTableId"])
		if !ok {
			fail("%s is in a route table from elsewhere", route.ID)
		}
		for _, association := range env.all("AWS::EC2::SubnetRouteTableAssociation") {
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
func checkNetwork(env environment) []string {
	kind, broken := subnetKinds(env)
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		for _, subnet := range references(r.Properties) {
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
			if at(r.Properties, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") != "DISABLED" {
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
				fail("%s attaches something else than the internet gateway: %s", id, text(r.Properties))
			}
		case "AWS::EC2::Subnet":
			if under(r.Properties, namesIPv6) != nil {
				fail("%s has IPv6, which NAT does not hide", id)
			}
		case "AWS::EC2::EIP":
			if !slices.ContainsFunc(env.all("AWS::EC2::NatGateway"), func(nat resource) bool { return slices.Contains(references(nat.Properties["AllocationId"]), id) }) {
				fail("%s is the public address of something else than NAT", id)
			}
		case "AWS::EC2::VPC":
			if !slices.ContainsFunc(env.all("Custom::VpcRestrictDefaultSG"), func(closed resource) bool {
				return shown(closed.Properties["DefaultSecurityGroupId"]) == "${"+id+".DefaultSecurityGroup}"
			}) {
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

// TestEveryJudgedTypeIsThere fails when a type of resource that nothing uses any more stays allowed.
func TestEveryJudgedTypeIsThere(t *testing.T) {
	unused := slices.Concat(harmless, slices.Collect(maps.Keys(standing)), slices.Collect(maps.Keys(inSubnets)))
	for _, env := range []environment{decode(t, "prod"), decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Retain = false
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
		env.Service.Secrets = map[string]string{} // so many that the library splits the role's policy
		for i := range 200 {
			env.Service.Secrets[fmt.Sprintf("KEY_%d", i)] = fmt.Sprintf("arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-%06d", i)
		}
	})))} {
		unused = slices.DeleteFunc(unused, func(name string) bool { return len(env.all(name)) > 0 })
	}
	if len(unused) > 0 {
		t.Errorf("no environment has %q: take them from the tables", unused)
	}
}

// TestAWayIntoTheNetworkIsNoticed adds to the templates of dev what opens them.
func TestAWayIntoTheNetworkIsNoticed(t *testing.T) {
	const (
		balancer, balancerGroup = "Service/Web/LB/Resource", "Service/Web/LB/SecurityGroup/Resource"
		service, tasksGroup     = "Service/Web/Service/Service", "Service/TasksSecurityGroup/Resource"
		database, databaseGroup = "Data/Database/Instance/Resource", "Data/Database/SecurityGroup/Resource"
	)
	// In the properties of a fault, {path} refers to the group, the subnet or the table at a construct path, and {VPC} to the VPC's default group.
	filled := func(change func(string) func(*testing.T, environment), properties string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			change(regexp.MustCompile(`\{[A-Z][A-Za-z0-9/]+\}`).ReplaceAllStringFunc(properties, func(path string) string {
				if path == "{VPC}" {
					return `{"Fn::GetAtt": ["` + env.one(t, "AWS::EC2::VPC").ID + `", "DefaultSecurityGroup"]}`
				}
				return `{"Ref": "` + env.byPath(t, strings.Trim(path, "{}")).ID + `"}`
			}))(t, env)
		}
	}
	adding := func(resourceType, properties string) func(*testing.T, environment) {
		return filled(func(p string) func(*testing.T, environment) { return add(resourceType, p) }, properties)
	}
	setting := func(path, properties string) func(*testing.T, environment) {
		return filled(func(p string) func(*testing.T, environment) { return set(path, p) }, properties)
	}
	only := func(resourceType, properties string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			set(pathOf(env.one(t, resourceType)), properties)(t, env)
		}
	}
	ingress := func(peer string) func(*testing.T, environment) {
		return adding("AWS::EC2::SecurityGroupIngress", `{"GroupId": {`+databaseGroup+`}, "IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, `+peer+`}`)
	}
	network := func(configuration string) func(*testing.T, environment) {
		return setting(service, `{"NetworkConfiguration": {"AwsvpcConfiguration": {`+configuration+`}}}`)
	}
	const (
		open          = `{"SecurityGroupIngress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]}`
		publicSubnet  = `{Network/Network/PublicSubnet1/Subnet}`
		privateSubnet = `{Network/Network/PrivateSubnet1/Subnet}`
		publicTable   = `"RouteTableId": {Network/Network/PublicSubnet1/RouteTable}`
		everywhere    = `"DestinationCidrBlock": "0.0.0.0/0"`
		elsewhere     = "sg-1234, which is no security group of these stacks"
	)
	wantNoticed(t, checkExposure, map[string]fault{
		// The rules of the groups.
		"half the internet":           {ingress(`"CidrIp": "0.0.0.0/1"`), "0.0.0.0/1 → database tcp 3306-3306"},
		"a private range":             {ingress(`"CidrIp": "10.0.0.0/8"`), "10.0.0.0/8 → database tcp 3306-3306"},
		"an office":                   {ingress(`"CidrIp": "203.0.113.0/24"`), "203.0.113.0/24 → database tcp 3306-3306"},
		"IPv6":                        {ingress(`"CidrIpv6": "::/0"`), "::/0 → database tcp 3306-3306"},
		"a list of addresses":         {ingress(`"SourcePrefixListId": "pl-1234"`), "pl-1234 → database tcp 3306-3306"},
		"a group from elsewhere":      {ingress(`"SourceSecurityGroupId": "sg-1234"`), "sg-1234 → database tcp 3306-3306"},
		"a group of an account":       {ingress(`"SourceSecurityGroupName": "web", "SourceSecurityGroupOwnerId": "1234"`), "web+1234 → database tcp 3306-3306"},
		"the default group":           {ingress(`"SourceSecurityGroupId": {VPC}`), ".DefaultSecurityGroup} → database tcp 3306-3306"},
		"a range by parameter":        {ingress(`"CidrIp": {"Ref": "AWS::NoValue"}`), "${AWS::NoValue} → database tcp 3306-3306"},
		"a range by a function":       {ingress(`"CidrIp": {"Fn::Select": [0, ["10.0.0.0/8", "x y"]]}`), `[\"10.0.0.0/8\",\"x y\"]]} → database tcp 3306-3306`},
		"a rule without a peer":       {ingress(`"Description": "?"`), `\"ToPort\":3306} → database tcp 3306-3306`},
		"a rule by a condition":       {set(databaseGroup, `{"SecurityGroupIngress": {"Fn::If": ["A", [], []]}}`), `[]]} → database <nil>`},
		"a rule that is a text":       {set(databaseGroup, `{"SecurityGroupIngress": ["all"]}`), "all → database <nil>"},
		"the balancer's way on":       {ingress(`"SourceSecurityGroupId": {` + balancerGroup + `}`), "balancer → database tcp 3306-3306 by the rules of one end"},
		"more ports than leave":       {adding("AWS::EC2::SecurityGroupIngress", `{"GroupId": {`+tasksGroup+`}, "IpProtocol": "-1", "SourceSecurityGroupId": {`+balancerGroup+`}}`), "balancer → tasks -1  by the rules of one end"},
		"more ports than enter":       {adding("AWS::EC2::SecurityGroupEgress", `{"GroupId": {`+balancerGroup+`}, "IpProtocol": "-1", "DestinationSecurityGroupId": {`+tasksGroup+`}}`), "balancer → tasks -1  by the rules of one end"},
		"a list to go out to":         {adding("AWS::EC2::SecurityGroupEgress", `{"GroupId": {`+databaseGroup+`}, "IpProtocol": "-1", "DestinationPrefixListId": "pl-1234"}`), "database → pl-1234 -1 "},
		"no rule for what leaves":     {set(databaseGroup, `{"SecurityGroupEgress": null}`), "database → internet -1 "},
		"all ports of the balancer":   {set(balancerGroup, open), "internet → balancer -1 "},
		"the tasks from the internet": {set(tasksGroup, open), "internet → tasks -1 "},
		"an open default group": {func(t *testing.T, env environment) {
			delete(env.Resources, env.one(t, "Custom::VpcRestrictDefaultSG").ID)
		}, "the default security group of"},
		"another group closed": {only("Custom::VpcRestrictDefaultSG", `{"DefaultSecurityGroupId": "sg-1234"}`), "the default security group of"},
		// Who wears them.
		"the database in the balancer's group": {setting(database, `{"VPCSecurityGroups": [{`+balancerGroup+`}]}`), `is the security group of ["balancer" "database"]`},
		"the tasks in the balancer's group":    {network(`"AssignPublicIp": "DISABLED", "SecurityGroups": [{` + balancerGroup + `}]`), `is the security group of ["balancer" "tasks"]`},
		"a function in the tasks' group":       {adding("AWS::Lambda::Function", `{"VpcConfig": {"SecurityGroupIds": [{`+tasksGroup+`}]}}`), `is the security group of ["data.Added" "tasks"]`},
		"the database in another group too":    {setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, "sg-1234"]}`), elsewhere},
		"the database in the default group":    {setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, {VPC}]}`), "DefaultSecurityGroup}, which is no security group of these stacks"},
		"the balancer in another group too":    {setting(balancer, `{"SecurityGroups": [{`+balancerGroup+`}, "sg-1234"]}`), elsewhere},
		"the database in two groups": {func(t *testing.T, env environment) {
			add("AWS::EC2::SecurityGroup", `{}`)(t, env)
			setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, {"Ref": "data.Added"}]}`)(t, env)
		}, "database wears data.Added and data.DatabaseSecurityGroup"},
		"the schema's task in a group of its own": {func(t *testing.T, env environment) {
			add("AWS::EC2::SecurityGroup", `{}`)(t, env)
			only("Custom::SchemaInit", `{"SecurityGroups": [{"Ref": "data.Added"}]}`)(t, env)
		}, "tasks wears data.Added and service.TasksSecurityGroup"},
		"a group that nobody wears":     {add("AWS::EC2::SecurityGroup", `{}`), "data.Added → internet -1 "},
		"a function in another group":   {add("AWS::Lambda::Function", `{"VpcConfig": {"SecurityGroupIds": ["sg-1234"]}}`), elsewhere},
		"the schema's task in no group": {only("Custom::SchemaInit", `{"SecurityGroups": []}`), "of type Custom::SchemaInit, wears no security group"},
		"a second service":              {add("AWS::ECS::Service", `{}`), "2 resources of type AWS::ECS::Service, want one"},
		"a second balancer":             {adding("AWS::ElasticLoadBalancingV2::LoadBalancer", `{"SecurityGroups": [{`+balancerGroup+`}]}`), "2 resources of type AWS::ElasticLoadBalancingV2::LoadBalancer, want one"},
		"an instance":                   {adding("AWS::EC2::Instance", `{"SubnetId": `+publicSubnet+`}`), "is of type AWS::EC2::Instance: judge who can reach it"},
		"a function with a URL":         {add("AWS::Lambda::Url", `{"AuthType": "NONE"}`), "is of type AWS::Lambda::Url: judge"},
		"a cluster of databases":        {add("AWS::RDS::DBCluster", `{"PubliclyAccessible": true}`), "is of type AWS::RDS::DBCluster: judge"},
		// What the balancer passes on.
		"a second listener":             {add("AWS::ElasticLoadBalancingV2::Listener", `{"Port": 8080, "Protocol": "HTTP"}`), "HTTP 8080"},
		"a listener of another":         {only("AWS::ElasticLoadBalancingV2::Listener", `{"LoadBalancerArn": "arn:other"}`), "HTTP 80 of arn:other → app 5000"},
		"a listener to another":         {only("AWS::ElasticLoadBalancingV2::Listener", `{"DefaultActions": [{"ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "arn:other"}]}}]}`), "HTTP 80 → arn:other"},
		"a target beside the tasks":     {only("AWS::ElasticLoadBalancingV2::TargetGroup", `{"Targets": [{"Id": "10.0.0.5", "Port": 3306}]}`), `"10.0.0.5","Port":3306}]: want those of the service only`},
		"another kind of targets":       {only("AWS::ElasticLoadBalancingV2::TargetGroup", `{"TargetType": "lambda"}`), "has targets of type lambda"},
		"tasks behind another balancer": {set(service, `{"LoadBalancers": [{"TargetGroupArn": "arn:other"}]}`), "behind a load balancer from elsewhere"},
		"tasks in a lattice":            {set(service, `{"VpcLatticeConfigurations": [{"TargetGroupArn": "arn:other"}]}`), "has VpcLatticeConfigurations: a way in that nobody judged"},
		// Subnets, routes and addresses.
		"the database in public":             {adding("AWS::RDS::DBSubnetGroup", `{"SubnetIds": [`+publicSubnet+`]}`), "is in the public subnet"},
		"the database in other subnets":      {set(database, `{"DBSubnetGroupName": "default"}`), "is in the subnets of default"},
		"tasks in public":                    {network(`"AssignPublicIp": "DISABLED", "Subnets": [` + publicSubnet + `]`), "is in the public subnet"},
		"tasks in other subnets":             {network(`"AssignPublicIp": "DISABLED", "Subnets": ["subnet-1"]`), "is in subnet-1, which is no subnet of these stacks"},
		"a subnet of another network":        {set("Network/Network/PublicSubnet1/Subnet", `{"VpcId": "vpc-1"}`), "is in vpc-1, which is no VPC of these stacks"},
		"NAT in private":                     {adding("AWS::EC2::NatGateway", `{"SubnetId": `+privateSubnet+`}`), "is in the private subnet"},
		"tasks with a public address":        {network(`"AssignPublicIp": "ENABLED"`), "of type AWS::ECS::Service, has or gives a public address"},
		"tasks that do not say":              {network(`"SecurityGroups": []`), "does not say that AssignPublicIp is DISABLED"},
		"a task of a rule, with an address":  {add("AWS::Events::Rule", `{"Targets": [{"EcsParameters": {"NetworkConfiguration": {"AwsVpcConfiguration": {"AssignPublicIp": "ENABLED"}}}}]}`), "of type AWS::Events::Rule, has or gives a public address"},
		"a public database":                  {set(database, `{"PubliclyAccessible": true}`), "of type AWS::RDS::DBInstance, has or gives a public address"},
		"a database that does not say":       {set(database, `{"PubliclyAccessible": null}`), "does not say that PubliclyAccessible is false"},
		"a subnet that gives addresses":      {set("Network/Network/PrivateSubnet1/Subnet", `{"MapPublicIpOnLaunch": "true"}`), "of type AWS::EC2::Subnet, has or gives a public address"},
		"a subnet with IPv6":                 {set("Network/Network/PrivateSubnet1/Subnet", `{"AssignIpv6AddressOnCreation": true}`), "has IPv6"},
		"IPv6 of the balancer":               {set(balancer, `{"IpAddressType": "dualstack"}`), "does not face the internet, by IPv4"},
		"an address of something else":       {add("AWS::EC2::EIP", `{}`), "the public address of something else than NAT"},
		"an interface endpoint":              {add("AWS::EC2::VPCEndpoint", `{"VpcEndpointType": "Interface"}`), "is no gateway endpoint"},
		"a way to another network":           {add("AWS::EC2::Route", `{"VpcPeeringConnectionId": "pcx-1"}`), "has VpcPeeringConnectionId: a way that nobody judged"},
		"a way to an office":                 {adding("AWS::EC2::Route", `{`+publicTable+`, `+everywhere+`, "GatewayId": "vgw-1"}`), "does not lead from 0.0.0.0/0 to the internet gateway or NAT"},
		"a way to some addresses":            {adding("AWS::EC2::Route", `{`+publicTable+`, "DestinationCidrBlock": "192.168.0.0/16", "GatewayId": {Network/Network/IGW}}`), "does not lead from 0.0.0.0/0 to the internet gateway or NAT"},
		"a way in another table":             {adding("AWS::EC2::Route", `{"RouteTableId": "rtb-1", `+everywhere+`, "GatewayId": {Network/Network/IGW}}`), "is in a route table from elsewhere"},
		"a private subnet with a way":        {adding("AWS::EC2::Route", `{"RouteTableId": {Network/Network/PrivateSubnet1/RouteTable}, `+everywhere+`, "GatewayId": {Network/Network/IGW}}`), "3 public subnets, want 2"},
		"a private subnet in a public table": {adding("AWS::EC2::SubnetRouteTableAssociation", `{`+publicTable+`, "SubnetId": `+privateSubnet+`}`), "3 public subnets, want 2"},
		"another subnet in a public table":   {adding("AWS::EC2::SubnetRouteTableAssociation", `{`+publicTable+`, "SubnetId": "subnet-1"}`), "is in subnet-1, which is no subnet of these stacks"},
		"an office's gateway":                {add("AWS::EC2::VPCGatewayAttachment", `{"VpnGatewayId": "vgw-1"}`), "attaches something else than the internet gateway"},
		"a public bucket":                    {set("Data/Bucket/Resource", `{"PublicAccessBlockConfiguration": {"BlockPublicAcls": true}}`), "does not have RestrictPublicBuckets"},
	})
}
