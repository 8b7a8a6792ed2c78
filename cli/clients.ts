/** `clients`: OAuth clients that the operator registers, for programs that cannot register themselves. */
import { ClientService } from '@bmm/proto/auth/v1/client_service'
import { clientAuthMethods } from '@bmm/spec/client-authentication'
import { timestampDate } from '@bufbuild/protobuf/wkt'
import { type Command, Option } from 'commander'
import { misused } from './fault.ts'
import { operatorClient } from './operator.ts'
import { print, printJson, table } from './output.ts'
import { dataOption } from './up.ts'

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addClientCommands(program: Command): void {
  const clients = program
    .command('clients')
    .description('OAuth clients that you register for programs that cannot register themselves')
    .helpCommand(false)
  clients
    .command('create')
    .description('register a client; its name is shown as vouched for, a secret is shown once')
    .requiredOption('--name <name>', 'what people see when they allow it')
    .requiredOption(
      '--redirect-uri <uri...>',
      'where answers may go; of a loopback address, any port',
    )
    .addOption(
      new Option('--auth <method>', 'how it says who it is')
        .choices(clientAuthMethods)
        .default('none'),
    )
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(create)
  clients
    .command('list')
    .description('those that you registered')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  clients
    .command('delete')
    .description('end what people allowed it, and forget it')
    .argument('<id>')
    .option('--yes', 'without it nothing happens')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(remove)
}

async function create(
  options: Common & { name: string; redirectUri: string[]; auth: string },
): Promise<void> {
  const service = await operatorClient(ClientService, 'auth', options.data)
  const { name, redirectUri: redirectUris, auth: authMethod } = options
  const { client, clientSecret } = await service.createClient({ name, redirectUris, authMethod })
  if (options.json === true) {
    const secret = clientSecret === '' ? {} : { clientSecret }
    printJson({ clientId: client?.id, name: client?.name, redirectUris, authMethod, ...secret })
    return
  }
  print(`client id      ${client?.id}`)
  if (clientSecret !== '') print(`client secret  ${clientSecret}  (shown this once)`)
}

async function list(options: Common): Promise<void> {
  const service = await operatorClient(ClientService, 'auth', options.data)
  const { clients } = await service.listClients({})
  const found = clients.map(({ id, name, redirectUris, authMethod, createdAt }) => ({
    ...{ clientId: id, name, redirectUris, authMethod },
    createdAt: createdAt === undefined ? '' : timestampDate(createdAt).toISOString(),
  }))
  if (options.json === true) printJson({ clients: found })
  else if (found.length === 0) print('none: programs register themselves')
  else {
    const row = ({ clientId, name, authMethod, redirectUris }: (typeof found)[number]) => [
      ...[clientId, name, authMethod, redirectUris.join(' ')],
    ]
    print(table(found.map(row)))
  }
}

async function remove(id: string, options: Common & { yes?: boolean }): Promise<void> {
  if (options.yes !== true) {
    throw misused('Everybody who uses this client has to sign in again with another. Say --yes.')
  }
  const service = await operatorClient(ClientService, 'auth', options.data)
  const { endedGrants } = await service.deleteClient({ id })
  if (options.json === true) printJson({ deleted: id, endedGrants })
  else print(`${id} is gone; ${endedGrants} permissions ended with it`)
}
