// Package network defines the VPC: two availability zones, a public and a private subnet in each.
package network

import (
	"net/netip"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/nag"
)

// Zones is the number of availability zones, and so of public and of private subnets.
const Zones = 2

// Props configures [New].
type Props struct {
	CIDR netip.Prefix // required; the four subnets share it equally

	AvailabilityZones []string // default: the first two that Fn::GetAZs returns
	NatGateways       int      // default: 1
}

// New defines a VPC under scope. Its private subnets reach the internet through NAT, and S3 through a gateway endpoint, which is
// free. Its default security group is closed.
func New(scope constructs.Construct, id string, props Props) awsec2.Vpc {
	if !props.CIDR.IsValid() {
		panic("network.New: CIDR is required")
	}
	zones := zonesOf(scope, props.AvailabilityZones)
	vpc := awsec2.NewVpc(scope, jsii.String(id), &awsec2.VpcProps{
		IpAddresses:       awsec2.IpAddresses_Cidr(jsii.String(props.CIDR.String())),
		AvailabilityZones: zones,
		NatGateways:       jsii.Number(max(props.NatGateways, 1)),
		SubnetConfiguration: &[]*awsec2.SubnetConfiguration{
			// The load balancer and the NAT gateways bring their own addresses: nothing needs a public one by default.
			{Name: jsii.String("Public"), SubnetType: awsec2.SubnetType_PUBLIC, MapPublicIpOnLaunch: jsii.Bool(false)},
			{Name: jsii.String("Private"), SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		},
		RestrictDefaultSecurityGroup: jsii.Bool(true),
		GatewayEndpoints: &map[string]*awsec2.GatewayVpcEndpointOptions{
			// Image layers and photos come from S3: without it that traffic pays for NAT.
			"S3": {
				Service: awsec2.GatewayVpcEndpointAwsService_S3(),
				Subnets: &[]*awsec2.SubnetSelection{{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS}},
			},
		},
	})
	nag.Accept(vpc, nag.Finding{Rule: "AwsSolutions-VPC7", Reason: "Flow logs record traffic and stop none, and are billed by the GiB. " +
		"What may reach what is four ways in all, which a test computes from the templates. Who must keep records can log this VPC from outside, by its id."})
	return vpc
}

// zonesOf returns the names, or tokens for the region's first zones. It also answers CDK's question for the zones of a
// concrete account and region, which would otherwise be looked up with credentials at synth.
func zonesOf(scope constructs.Construct, names []string) *[]*string {
	var zones []*string
	for i := range Zones {
		if len(names) > 0 {
			zones = append(zones, jsii.String(names[i]))
		} else {
			zones = append(zones, awscdk.Fn_Select(jsii.Number(i), awscdk.Fn_GetAzs(jsii.String(""))))
		}
	}
	stack := awscdk.Stack_Of(scope)
	if !*awscdk.Token_IsUnresolved(stack.Account()) && !*awscdk.Token_IsUnresolved(stack.Region()) {
		key := "availability-zones:account=" + *stack.Account() + ":region=" + *stack.Region()
		stack.Node().SetContext(jsii.String(key), slices.Clone(zones))
	}
	return &zones
}
