package stacks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

func TestNetwork(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		vpc := env.One(t, "AWS::EC2::VPC")
		want(t, vpc, cfg.Network.CIDR, "CidrBlock")
		want(t, vpc, true, "EnableDnsHostnames")
		want(t, vpc, true, "EnableDnsSupport")

		if got := len(env.All("AWS::EC2::Subnet")); got != 4 {
			t.Errorf("%d subnets, want 4", got)
		}
		for _, kind := range []string{"Public", "Private"} {
			zones := map[string]bool{}
			for i := range 2 {
				subnet := env.ByPath(t, fmt.Sprintf("Network/%sSubnet%d/Subnet", kind, i+1))
				zones[text(subnet.Properties["AvailabilityZone"])] = true
				want(t, subnet, false, "MapPublicIpOnLaunch")
			}
			if len(zones) != 2 {
				t.Errorf("the %s subnets are in the zones %v, want two", kind, zones)
			}
		}

		closed := env.One(t, "Custom::VpcRestrictDefaultSG")
		want(t, closed, map[string]any{"Fn::GetAtt": []string{vpc.ID, "DefaultSecurityGroup"}}, "DefaultSecurityGroupId")
	})
}

func TestConfiguredNetworkRange(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) { env.Network.CIDR = "172.20.64.0/20" })))
	want(t, env.One(t, "AWS::EC2::VPC"), "172.20.64.0/20", "CidrBlock")
	var ranges []string
	for _, subnet := range env.All("AWS::EC2::Subnet") {
		ranges = append(ranges, text(subnet.Properties["CidrBlock"]))
	}
	slices.Sort(ranges)
	if got, want := strings.Join(ranges, " "), `"172.20.64.0/22" "172.20.68.0/22" "172.20.72.0/22" "172.20.76.0/22"`; got != want {
		t.Errorf("the subnets have the ranges %s, want %s", got, want)
	}
}

func TestRoutes(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		gateway := env.One(t, "AWS::EC2::InternetGateway")
		nats := env.All("AWS::EC2::NatGateway")
		if len(nats) != cfg.Network.NatGateways {
			t.Errorf("%d NAT gateways, want %d", len(nats), cfg.Network.NatGateways)
		}
		for _, nat := range nats {
			subnet := env.Resources[references(nat.Properties["SubnetId"])[0]]
			if !strings.Contains(subnet.ID, "PublicSubnet") {
				t.Errorf("%s is in %s, want a public subnet", nat.ID, subnet.ID)
			}
			address := env.Resources[references(nat.Properties["AllocationId"])[0]]
			if address.Type != "AWS::EC2::EIP" {
				t.Errorf("%s has the address %s, want an Elastic IP", nat.ID, address.ID)
			}
		}
		for _, route := range env.All("AWS::EC2::Route") {
			want(t, route, "0.0.0.0/0", "DestinationCidrBlock")
			if strings.Contains(route.ID, "Public") {
				want(t, route, map[string]any{"Ref": gateway.ID}, "GatewayId")
			} else if target := references(route.Properties["NatGatewayId"]); len(target) != 1 || env.Resources[target[0]].Type != "AWS::EC2::NatGateway" {
				t.Errorf("%s leads to %v, want a NAT gateway", route.ID, target)
			}
		}
		if got := len(env.All("AWS::EC2::Route")); got != 4 {
			t.Errorf("%d default routes, want one for each of 4 subnets", got)
		}
		endpoint := env.One(t, "AWS::EC2::VPCEndpoint")
		want(t, endpoint, "Gateway", "VpcEndpointType")
		if got := readable(endpoint.Properties["ServiceName"]); got != "com.amazonaws.${AWS::Region}.s3" {
			t.Errorf("the endpoint is for %v, want S3", got)
		}
		if got := endpoint.Properties["RouteTableIds"].([]any); len(got) != 2 {
			t.Errorf("the S3 endpoint is in %d route tables, want the two private ones", len(got))
		}
		for _, table := range references(endpoint.Properties["RouteTableIds"]) {
			if !strings.Contains(table, "PrivateSubnet") {
				t.Errorf("the S3 endpoint is in the route table %s, want private ones only", table)
			}
		}
	})
}
