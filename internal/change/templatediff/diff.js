// Compares pairs of CloudFormation templates by AWS's resource schemas. Each line of standard input is a JSON list of
// {old, new}, two templates; a line of standard output is a list of what changes, in the same order. infra guard and
// infra review start it, with one line.
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fullDiff } from '@aws-cdk/cloudformation-diff';

for await (const line of createInterface({ input: process.stdin })) {
  writeFileSync(1, `${JSON.stringify(JSON.parse(line).map(({ old, new: next }) => compare(old, next)))}\n`);
}

function compare(old, next) {
  const resources = {};
  fullDiff(old, next).resources.forEachDifference((logicalId, change) => {
    resources[logicalId] = {
      impact: change.changeImpact,
      properties: Object.fromEntries(
        Object.entries(change.propertyUpdates).map(([name, update]) => [name, update.changeImpact]),
      ),
      attributes: Object.keys(change.otherChanges),
    };
  });
  const access = fullDiff(withPolicies(old), withPolicies(next));
  return {
    resources,
    permissions: changes(access.iamChanges.statements, ({ effect, resources, actions, principals, condition }) =>
      ({ effect, resources, actions, principals, condition })),
    managedPolicies: changes(access.iamChanges.managedPolicies, ({ identityArn, managedPolicyArn }) =>
      ({ identityArn, managedPolicyArn })),
    ingress: changes(access.securityGroupChanges.ingress, (rule) => rule.toJson()),
    egress: changes(access.securityGroupChanges.egress, (rule) => rule.toJson()),
  };
}

function changes(collection, describe) {
  return { added: collection.additions.map(describe), removed: collection.removals.map(describe) };
}

// The package reads AWS::IAM::Policy, but not AWS::IAM::RolePolicy, which says the same of one role.
function withPolicies(template) {
  const resources = Object.entries(template.Resources ?? {}).map(([logicalId, resource]) => {
    if (resource.Type !== 'AWS::IAM::RolePolicy') return [logicalId, resource];
    const { RoleName, ...properties } = resource.Properties;
    return [logicalId, { ...resource, Type: 'AWS::IAM::Policy', Properties: { ...properties, Roles: [RoleName] } }];
  });
  return { ...template, Resources: Object.fromEntries(resources) };
}
