// Package stacks defines the four stacks of an environment and wires them, left to right:
// Network → Data → Service → Pipeline. References run in that direction only.
package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
)

// Environment is one environment's stacks.
type Environment struct {
	Network  *NetworkStack
	Data     *DataStack
	Service  *ServiceStack
	Pipeline *PipelineStack
}

// NewEnvironment defines the four stacks of env under scope, whose id is the environment's name: the paths of the
// constructs below it are part of logical ids and names.
func NewEnvironment(scope constructs.Construct, env config.Environment) *Environment {
	network := NewNetworkStack(scope, env)
	data := NewDataStack(scope, env, DataStackProps{VPC: network.VPC})
	service := NewServiceStack(scope, env, ServiceStackProps{
		VPC:         network.VPC,
		Repository:  data.Repository,
		Bucket:      data.Bucket,
		Database:    data.Database,
		FlaskSecret: data.FlaskSecret,
	})
	pipeline := NewPipelineStack(scope, env, PipelineStackProps{
		Cluster:    service.Cluster,
		Service:    service.Service,
		TaskRoles:  service.TaskRoles,
		Repository: data.Repository,
	})
	finish(network.Stack, data.Stack, service.Stack, pipeline.Stack)
	return &Environment{Network: network, Data: data, Service: service, Pipeline: pipeline}
}

// tags are the stack's: CloudFormation puts them on each resource that can have tags.
func tags(env config.Environment) *map[string]*string {
	all := map[string]*string{"project": jsii.String(env.Project), "environment": jsii.String(env.Name)}
	for key, value := range env.Tags {
		all[key] = jsii.String(value)
	}
	return &all
}

// newStack defines the stack of an environment whose name ends in suffix. Stack names are for ever: a changed name is
// a new stack beside the old one.
func newStack(scope constructs.Construct, id string, env config.Environment, suffix, description string) awscdk.Stack {
	return awscdk.NewStack(scope, jsii.String(id), &awscdk.StackProps{
		StackName:   jsii.String(env.FullName() + "-" + suffix),
		Description: jsii.String(description),
		Tags:        tags(env),
		Env: &awscdk.Environment{
			Account: optional(env.Account),
			Region:  jsii.String(env.Region),
		},
	})
}

func newDataHoldingStack(scope constructs.Construct, id string, env config.Environment, suffix, description string) awscdk.Stack {
	stack := newStack(scope, id, env, suffix, description)
	stack.SetTerminationProtection(jsii.Bool(env.Retain))
	return stack
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return jsii.String(s)
}

func output(stack awscdk.Stack, name, description string, value *string) awscdk.CfnOutput {
	return awscdk.NewCfnOutput(stack, jsii.String(name), &awscdk.CfnOutputProps{
		Description: jsii.String(description),
		Value:       value,
	})
}
