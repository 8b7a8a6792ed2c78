import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { accessTable } from '@bmm/lib/contracts'
import { type Identity, openIdentity, type ServiceName, serviceNames } from '@bmm/lib/identity'
import { Permission } from '@bmm/proto/v1/options'
import { create, toBinary } from '@bufbuild/protobuf'
import { signUp } from './account.ts'
import { children, runningChild } from './children.ts'
import { openProber, type Prober } from './probe.ts'
import { type Stack, startStack } from './stack.ts'

const rpcServices = ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway'] as const
const SLOT = 7

let stack: Stack
let run: string
let prober: Prober
let identities: ReadonlyMap<ServiceName, Identity>

beforeAll(async () => {
  stack = await startStack()
  run = dirname(stack.mailbox)
  prober = openProber()
  await signUp(stack, 'isolation@example.com')
  const publicKeys = readFileSync(join(run, 'public-keys.json'), 'utf8')
  identities = new Map(
    await Promise.all(
      serviceNames.map(async (name) => {
        const privateKeyPem = readFileSync(join(stack.data, 'keys', `${name}.pem`), 'utf8')
        return [name, await openIdentity({ name, privateKeyPem, publicKeys })] as const
      }),
    ),
  )
}, 120_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  prober?.[Symbol.dispose]()
})

const identity = (name: ServiceName) => {
  const found = identities.get(name)
  if (found === undefined) throw new Error(`${name} has no key`)
  return found
}

type Row = ReturnType<typeof accessTable>[number]

/** One RPC with an empty message; a Connect stream is always 200, its end frame says what happened. */
async function call(
  row: Row,
  token: string | undefined,
): Promise<{ status: number; text: string }> {
  const streaming = row.method.methodKind !== 'unary'
  const message = toBinary(row.method.input, create(row.method.input))
  const body = streaming
    ? Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message])
    : message
  const response = await fetch(`http://rpc.localhost${row.path}`, {
    method: 'POST',
    unix: join(run, 'rpc', row.process, 'rpc.sock'),
    body,
    headers: {
      'content-type': streaming ? 'application/connect+proto' : 'application/proto',
      'connect-protocol-version': '1',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  })
  const text = streaming ? await firstChunk(response) : await response.text()
  const denied = /"(permission_denied|unauthenticated)"/.exec(text)?.[1]
  const inStream = denied === undefined ? 200 : denied === 'permission_denied' ? 403 : 401
  return { status: streaming ? inStream : response.status, text }
}

/** A refusal is the only frame of its stream; a stream that is let in may say nothing more for long. */
async function firstChunk(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const chunk = await reader?.read()
  await reader?.cancel()
  return new TextDecoder().decode(chunk?.value)
}

describe('each RPC of the running services', () => {
  const rows = accessTable()
  const sign = (from: ServiceName, row: Row) =>
    identity(from).sign(row.process as ServiceName, row.path)

  test.each(rows.map((row) => [row.path, row] as const))('%s', async (_, row) => {
    const refusal = /caller_not_allowed|may not call/
    for (const from of serviceNames) {
      const answer = await call(row, await sign(from, row))
      if (row.callers.includes(from))
        expect([from, answer.text]).not.toEqual([from, expect.stringMatching(refusal)])
      else
        expect([from, answer.status, answer.text]).toEqual([
          from,
          403,
          expect.stringMatching(refusal),
        ])
    }
    expect((await call(row, undefined)).status).toBe(401)
    const [from] = row.callers
    if (from === undefined) throw new Error('nobody may call it')
    // Signed by a key that is not its issuer's, for another service, and for another method.
    const other = serviceNames.find((name) => name !== from) ?? 'auth'
    const forged = await pretend(other, from, row)
    expect((await call(row, forged)).status).toBe(401)
    const elsewhere = serviceNames.find((name) => name !== row.process) ?? 'auth'
    expect((await call(row, await identity(from).sign(elsewhere, row.path))).status).toBe(401)
    const otherMethod = await identity(from).sign(row.process as ServiceName, '/bmm.X/Y')
    expect((await call(row, otherMethod)).status).toBe(401)
    if (row.permission !== Permission.UNSPECIFIED) {
      expect((await call(row, await sign(from, row))).status).toBe(401)
    }
  })

  test('what changes something takes a token once', async () => {
    const row = rows.find(({ path }) => path.endsWith('/StartMagicLink'))
    if (row === undefined) throw new Error('there is no such RPC')
    const token = await sign('gateway', row)
    expect((await call(row, token)).text).not.toMatch(/service_token_replayed|used before/)
    const again = await call(row, token)
    expect([again.status, again.text]).toEqual([401, expect.stringMatching(/used before/)])
  })
})

/** A token that says it is from one service and is signed with the key of another. */
async function pretend(signer: ServiceName, issuer: ServiceName, row: Row): Promise<string> {
  const privateKeyPem = readFileSync(join(stack.data, 'keys', `${signer}.pem`), 'utf8')
  const publicKeys = readFileSync(join(run, 'public-keys.json'), 'utf8')
  const pretender = await openIdentity({ name: issuer, privateKeyPem, publicKeys })
  return pretender.sign(row.process as ServiceName, row.path)
}

/** Everything that belongs to somebody, by owner. */
function belongings() {
  const keys = join(stack.data, 'keys')
  const folders = [stack.data, keys, join(stack.data, 'logs'), join(stack.data, 'postgres')]
  const insides = children.flatMap((name) => {
    const process = `/proc/${runningChild(stack, name)}`
    // Descriptor 3 is the service key, 4 a key-encryption key.
    return ['environ', 'mem', 'fd', 'fd/3', 'fd/4', 'root', 'cwd'].map(
      (part) => `${process}/${part}`,
    )
  })
  return {
    files: [...folders, ...readdirSync(keys).map((name) => join(keys, name))],
    insides,
    insidesOf: (name: string) => `/proc/${runningChild(stack, name)}/`,
    rpcSockets: rpcServices.map((name) => join(run, 'rpc', name, 'rpc.sock')),
    runnerSockets: ['calls.sock', 'link.sock'].map((name) => join(run, 'rpc', 'runner', name)),
    keeperSocket: join(run, 'keeper', 'keeper.sock'),
    stores: [join(run, 'redis', 'redis.sock'), join(run, 'postgres', '.s.PGSQL.5432')],
    slot: (number: number) => ['c', 'e'].map((name) => join(run, 'slots', String(number), name)),
    pids: children.map((name) => runningChild(stack, name)),
  }
}

const userOf = (path: string) => statSync(path).uid
const groupOf = (path: string) => statSync(path).gid

describe('a service that was taken over', () => {
  test.each([...rpcServices])('as %s reads no key, no memory and no mail but its own', (name) => {
    const folder = join(run, 'rpc', name)
    const as = { user: userOf(folder), group: groupOf(folder) }
    const all = belongings()
    for (const path of [...all.rpcSockets, ...all.runnerSockets, ...all.stores, all.keeperSocket]) {
      expect([path, existsSync(path)]).toEqual([path, true])
    }
    const others = children.filter((child) => child !== name)
    const succeeded = prober.succeeds(as, {
      read: [...all.files, ...all.insides, stack.mailbox, ...all.slot(0), ...all.slot(SLOT)],
      connect: all.rpcSockets,
      keep: [all.keeperSocket],
      write: [
        ...[run, join(run, 'keeper'), join(run, 'slots'), join(run, 'app'), stack.data],
        ...rpcServices.filter((each) => each !== name).map((each) => join(run, 'rpc', each)),
      ],
      signal: others.map((child) => runningChild(stack, child)),
    })
    const mine = all.insidesOf(name)
    // The keeper has one peer, the runner's own process: nobody gets a second connection.
    const own = {
      auth: [`read ${stack.mailbox}`],
      runner: [`read ${all.slot(0)[0]}`, `read ${all.slot(SLOT)[0]}`],
      broker: [`read ${all.slot(0)[1]}`, `read ${all.slot(SLOT)[1]}`],
      secrets: [],
      generator: [],
      gateway: [],
    }[name]
    // Who may connect to a service's socket is not yet who may call: that is what the tokens above decide.
    const beyond = succeeded.filter(
      (each) =>
        !each.startsWith(`read ${mine}`) &&
        !all.rpcSockets.some((socket) => each === `connect ${socket}`),
    )
    expect(beyond.toSorted()).toEqual(own.toSorted())
  })
})

describe('a sandbox that got out', () => {
  test.each([
    ['a slot', () => slotUser(SLOT)],
    ['its neighbour', () => slotUser(SLOT + 1)],
    ['nobody', () => ({ user: 65_534, group: 65_534 })],
  ])('as %s reaches no socket, no file and no process', (_, as) => {
    const all = belongings()
    const neighbours = [SLOT - 1, SLOT + 2].flatMap((slot) => all.slot(slot))
    const succeeded = prober.succeeds(as(), {
      read: [
        ...[...all.files, ...all.insides, stack.mailbox, run, join(run, 'rpc'), join(run, 'slots')],
        ...[...all.slot(SLOT), ...neighbours],
        ...neighbours.flatMap((folder) => [join(folder, 'token'), join(folder, 'calls.sock')]),
      ],
      connect: [...all.rpcSockets, ...all.runnerSockets, ...all.stores, all.keeperSocket],
      write: [run, stack.data, ...all.slot(SLOT), ...neighbours, join(run, 'app')],
      signal: all.pids,
    })
    expect(succeeded).toEqual([])
  })

  test('the group of the services is what opens their sockets', () => {
    const folder = join(run, 'rpc', 'auth')
    const all = belongings()
    const connect = [...all.rpcSockets, ...all.stores]
    const stranger = { user: 65_533, group: groupOf(folder) }
    expect(prober.succeeds(stranger, { connect }).length).toBe(connect.length)
  })
})

function slotUser(slot: number): { user: number; group: number } {
  const group = groupOf(join(run, 'slots', String(slot), 'c'))
  return { user: group, group }
}
