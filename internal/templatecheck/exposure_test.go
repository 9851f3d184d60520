package templatecheck_test

import (
	"regexp"
	"strings"
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

// TestExposureFinds adds to the templates of dev what opens them.
func TestExposureFinds(t *testing.T) {
	const (
		balancer, balancerGroup = "Service/Web/LB/Resource", "Service/Web/LB/SecurityGroup/Resource"
		service, tasksGroup     = "Service/Web/Service/Service", "Service/TasksSecurityGroup/Resource"
		database, databaseGroup = "Data/Database/Instance/Resource", "Data/Database/SecurityGroup/Resource"
	)
	// In the properties of a fault, {path} refers to the group, the subnet or the table at a construct path, and {VPC} to the VPC's default group.
	filled := func(change func(string) change, properties string) change {
		return func(t *testing.T, env templatecheck.Templates) {
			change(regexp.MustCompile(`\{[A-Z][A-Za-z0-9/]+\}`).ReplaceAllStringFunc(properties, func(path string) string {
				if path == "{VPC}" {
					return `{"Fn::GetAtt": ["` + env.One(t, "AWS::EC2::VPC").ID + `", "DefaultSecurityGroup"]}`
				}
				return `{"Ref": "` + env.ByPath(t, strings.Trim(path, "{}")).ID + `"}`
			}))(t, env)
		}
	}
	adding := func(resourceType, properties string) change {
		return filled(func(p string) change { return add(resourceType, p) }, properties)
	}
	setting := func(path, properties string) change {
		return filled(func(p string) change { return set(path, p) }, properties)
	}
	only := func(resourceType, properties string) change {
		return func(t *testing.T, env templatecheck.Templates) {
			set(templatecheck.Path(env.One(t, resourceType)), properties)(t, env)
		}
	}
	ingress := func(peer string) change {
		return adding("AWS::EC2::SecurityGroupIngress", `{"GroupId": {`+databaseGroup+`}, "IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, `+peer+`}`)
	}
	network := func(configuration string) change {
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
	wantNoticed(t, templatecheck.Exposure, map[string]fault{
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
		"an open default group": {func(t *testing.T, env templatecheck.Templates) {
			delete(env.Resources, env.One(t, "Custom::VpcRestrictDefaultSG").ID)
		}, "the default security group of"},
		"another group closed": {only("Custom::VpcRestrictDefaultSG", `{"DefaultSecurityGroupId": "sg-1234"}`), "the default security group of"},
		// Who wears them.
		"the database in the balancer's group": {setting(database, `{"VPCSecurityGroups": [{`+balancerGroup+`}]}`), `is the security group of ["balancer" "database"]`},
		"the tasks in the balancer's group":    {network(`"AssignPublicIp": "DISABLED", "SecurityGroups": [{` + balancerGroup + `}]`), `is the security group of ["balancer" "tasks"]`},
		"a function in the tasks' group":       {adding("AWS::Lambda::Function", `{"VpcConfig": {"SecurityGroupIds": [{`+tasksGroup+`}]}}`), `is the security group of ["data.Added" "tasks"]`},
		"the database in another group too":    {setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, "sg-1234"]}`), elsewhere},
		"the database in the default group":    {setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, {VPC}]}`), "DefaultSecurityGroup}, which is no security group of these stacks"},
		"the balancer in another group too":    {setting(balancer, `{"SecurityGroups": [{`+balancerGroup+`}, "sg-1234"]}`), elsewhere},
		"the database in two groups": {func(t *testing.T, env templatecheck.Templates) {
			add("AWS::EC2::SecurityGroup", `{}`)(t, env)
			setting(database, `{"VPCSecurityGroups": [{`+databaseGroup+`}, {"Ref": "data.Added"}]}`)(t, env)
		}, "database wears data.Added and data.DatabaseSecurityGroup"},
		"the schema's task in a group of its own": {func(t *testing.T, env templatecheck.Templates) {
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
