// Package policy writes IAM policies out, action by action. The library's grants give more than is needed in many places,
// and each of its statements is a call of its own to the library's process; a document from here is one.
package policy

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
)

// Statement allows actions on resources. Begin with [Allow].
type Statement struct {
	actions    []string
	resources  []string
	conditions map[string]any
	reason     string
}

// Allow begins a statement that allows actions; [Statement.On] completes it.
func Allow(actions ...string) Statement {
	return Statement{actions: actions}
}

// On names the resources: ARNs, or "*" for an action that has no resource-level permission.
func (s Statement) On(arns ...*string) Statement {
	for _, arn := range arns {
		s.resources = append(s.resources, *arn)
	}
	return s
}

// OnAll allows actions that have no resource-level permission.
func (s Statement) OnAll() Statement {
	return s.On(jsii.String("*")).Because("IAM has no resource-level permission for this")
}

// Because says why the wildcards in the actions and resources are no wider than needed. Each wildcard needs a reason: a
// test says where one is missing.
func (s Statement) Because(reason string) Statement {
	s.reason = reason
	return s
}

// If restricts the statement by one condition: an operator, as in StringEquals, a condition key and its value.
func (s Statement) If(operator, key, value string) Statement {
	s.conditions = map[string]any{operator: map[string]any{key: value}}
	return s
}

func (s Statement) json() map[string]any {
	statement := map[string]any{"Effect": "Allow", "Action": s.actions, "Resource": s.resources}
	if s.conditions != nil {
		statement["Condition"] = s.conditions
	}
	return statement
}

// CDK is the statement in the library's form, for where one is added to a role that the library defines.
func (s Statement) CDK() awsiam.PolicyStatement {
	return awsiam.PolicyStatement_FromJson(s.json())
}

// Document is a policy of statements.
func Document(statements ...Statement) awsiam.PolicyDocument {
	var list []any
	for _, s := range statements {
		list = append(list, s.json())
	}
	return awsiam.PolicyDocument_FromJson(map[string]any{"Version": "2012-10-17", "Statement": list})
}

// NewRole defines a role that service assumes and that may do what the statements allow, with their reasons. They are part
// of the role: whatever waits for the role waits for them too. The library cannot add to it.
func NewRole(scope constructs.Construct, id, service string, statements ...Statement) awsiam.IRole {
	return newRole(scope, id, service, statements).WithoutPolicyUpdates(nil)
}

// NewOpenRole is [NewRole] for a role to which the library adds what it needs itself.
func NewOpenRole(scope constructs.Construct, id, service string, statements ...Statement) awsiam.IRole {
	return newRole(scope, id, service, statements)
}

func newRole(scope constructs.Construct, id, service string, statements []Statement) awsiam.Role {
	role := awsiam.NewRole(scope, jsii.String(id), &awsiam.RoleProps{
		AssumedBy:      cdk.ServicePrincipal(service),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"Permissions": Document(statements...)},
	})
	nag.Accept(role, wildcards(role, statements)...)
	return role
}

// Explain records the reasons of statements that stand in the default policy of a role, where the library gathers what is
// added to the role, also by itself. Call it once for a role, when the policy is there.
func Explain(role constructs.IConstruct, statements ...Statement) {
	nag.Accept(role.Node().FindChild(jsii.String("DefaultPolicy")), wildcards(role, statements)...)
}
