/** `targets`, `public-url` and `keys`: what the operator of this machine decides, with the key in the data directory. */
import { readFileSync } from 'node:fs'
import { rpcClient } from '@bmm/lib/client'
import { openIdentity, type ServiceName } from '@bmm/lib/identity'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import { SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import type { DescService } from '@bufbuild/protobuf'
import type { Client } from '@connectrpc/connect'
import type { Command } from 'commander'
import { misused } from './fault.ts'
import { print, printJson, table } from './output.ts'
import { addPublicUrlCommands } from './public-url.ts'
import { localStack } from './session.ts'
import { keyFile, publicKeysText } from './stack/keys.ts'
import { dataOption } from './up.ts'

const MAX_PORT = 65535

type Common = { data: string; json?: boolean; org?: string; everyone?: boolean }

/** Adds the commands to the program. */
export function addOperatorCommands(program: Command): void {
  const targets = program
    .command('targets')
    .description('private addresses that servers may reach; all others are refused')
    .helpCommand(false)
  targets
    .command('allow')
    .description('let servers reach HOST:PORT')
    .argument('<host:port>')
    .option('--org <id>', 'for the servers of this organisation only (whoami --json tells its id)')
    .option('--everyone', 'for every organisation: whoever signs up here')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(allow)
  targets
    .command('list')
    .description('what is allowed')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  targets
    .command('remove')
    .description('take an allowance back')
    .argument('<host:port>')
    .option('--org <id>', 'that of this organisation')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(remove)
  addPublicUrlCommands(program)
  const keys = program.command('keys').description('keys of the platform').helpCommand(false)
  keys
    .command('rotate')
    .description('a new data key for credentials and a new signing key for access tokens')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(rotate)
}

async function allow(text: string, options: Common): Promise<void> {
  const target = parseTarget(text)
  const { org, everyone = false } = options
  if ((org === undefined) !== everyone) {
    throw misused(
      'Say whose servers may reach it: --org ID for those of one organisation (./bmm whoami --json tells the id of yours), or --everyone for those of every organisation, and everybody who has a mail address may sign up.',
    )
  }
  await allowTarget(options.data, target, org)
  if (options.json === true) printJson({ allowed: text, org: org ?? null, everyone })
  else print(`servers of ${org ?? 'every organisation'} may reach ${text}`)
}

export type Target = { host: string; port: number }

/** Lets servers reach a private address: those of one organisation, or all. Repeatable. */
export async function allowTarget(data: string, target: Target, orgId = ''): Promise<void> {
  const client = await operatorClient(TargetService, 'broker', data)
  await client.allowTarget({ ...target, orgId })
}

async function list(options: Common): Promise<void> {
  const client = await operatorClient(TargetService, 'broker', options.data)
  const { targets } = await client.listTargets({})
  const found = targets.map(({ host, port, orgId }) => ({ host, port, orgId }))
  if (options.json === true) printJson({ targets: found })
  else if (found.length === 0) print('none: servers reach public addresses only')
  else print(table(found.map(({ host, port, orgId }) => [`${host}:${port}`, orgId || 'everyone'])))
}

async function remove(text: string, options: Common): Promise<void> {
  const target = parseTarget(text)
  const client = await operatorClient(TargetService, 'broker', options.data)
  await client.removeTarget({ ...target, orgId: options.org ?? '' })
  if (options.json === true) printJson({ removed: text })
  else print(`${text} is refused from now on`)
}

async function rotate(options: Common): Promise<void> {
  const secrets = await operatorClient(SecretsService, 'secrets', options.data)
  const auth = await operatorClient(OAuthService, 'auth', options.data)
  const { key } = await secrets.rotateDataKey({})
  const { keyId } = await auth.rotateSigningKey({})
  if (options.json === true) printJson({ dataKey: key?.version, signingKey: keyId })
  else print(`data key ${key?.version}, signing key ${keyId}; what older keys made stays good`)
}

/** A client that calls as the operator, straight over the service's socket. */
export async function operatorClient<Desc extends DescService>(
  service: Desc,
  to: ServiceName,
  data: string,
): Promise<Client<Desc>> {
  const { paths } = localStack(data)
  const identity = await openIdentity({
    name: 'operator',
    privateKeyPem: readFileSync(keyFile(paths.keys, 'operator'), 'utf8'),
    publicKeys: publicKeysText(paths.keys),
  })
  return rpcClient(service, { identity, rpcDir: paths.rpc, to })
}

/** `host:port` or `[v6]:port`. Throws CommandFault. */
export function parseTarget(text: string): Target {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host !== undefined && port > 0 && port <= MAX_PORT) return { host: host.toLowerCase(), port }
  throw misused('A target is HOST:PORT, such as 127.0.0.1:8080, api.internal:443 or [::1]:8080.')
}
