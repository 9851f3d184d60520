package stacks

import (
	"net/netip"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/constructs-go/constructs/v10"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/network"
)

// NetworkStack holds the VPC.
type NetworkStack struct {
	Stack awscdk.Stack
	VPC   awsec2.IVpc
}

// NewNetworkStack defines the stack <project>-<env>-network under scope.
func NewNetworkStack(scope constructs.Construct, env config.Environment) *NetworkStack {
	stack := newDataHoldingStack(scope, "Network", env, "network", "VPC, subnets, NAT and routes")
	vpc := network.New(stack, "Network", network.Props{
		CIDR:              netip.MustParsePrefix(env.Network.CIDR),
		AvailabilityZones: env.Network.AvailabilityZones,
		NatGateways:       env.Network.NatGateways,
	})
	return &NetworkStack{Stack: stack, VPC: vpc}
}
