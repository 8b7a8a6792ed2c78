/** A broker among stand-ins for its neighbours: the runner's real end of the link, a vault, sandboxes that speak frames. */

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SchemeName, schemeFrom } from '@bmm/lib/credential-scheme'
import type { EgressLimits } from '@bmm/lib/egress'
import type { Resolve } from '@bmm/lib/egress-policy'
import { precondition } from '@bmm/lib/errors'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames } from '@bmm/lib/frame-socket'
import { callIds, FRAME, type Frame, parseControl } from '@bmm/lib/frames'
import { newId } from '@bmm/lib/ids'
import { testDatabase, testIdentities, testLog, testRpc } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { type Answer, type RawUpstream, rawUpstream } from '@bmm/lib/testing-upstream'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { digestOf } from '@bmm/spec/digest'
import { type ServeStatement, type SignedStatement, signStatement } from '@bmm/spec/statement'
import { listenForBroker } from '../broker-link.ts'
import { slotDirectory, slotFiles } from '../sandbox/sandbox-limits.ts'
import { openBroker } from './broker.ts'

const DEADLINE_MS = 20_000
const SLOTS = 16

export type TestSecret = {
  name: string
  value: string
  scheme: SchemeName
  parameter?: string
  origins: string[]
}
export type TestFetch = {
  call?: number
  method?: string
  headers?: [string, string][]
  body?: string | Uint8Array
}
export type TestFetched =
  | { status: number; headers: [string, string][]; droppedCookies?: string[]; body: string }
  | { failed: string; message: string }

/** Public names lead nowhere; what stands under `.lan` is here, where the operator allows it. */
export const lanOnly: Resolve = async (name) =>
  name.endsWith('.lan') ? ['127.0.0.1'] : ['192.88.98.1']

export const okAnswer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

export type TestBroker = Awaited<ReturnType<typeof startTestBroker>>

export async function startTestBroker(options: {
  resolve: Resolve
  ownListeners?: string[]
  extraCa?: string[]
  limits?: Partial<EgressLimits>
}) {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-broker-'))
  const database = await testDatabase('broker', join(import.meta.dir, 'migrations'))
  const identities = await testIdentities()
  const rpc = testRpc(identities)
  const signing = generateKeyPairSync('ed25519')
  const clock = { offsetMs: 0 }
  const vault = { secrets: new Map<string, TestSecret[]>(), asked: 0, isDown: false }
  /** Says that a server's secrets were changed; replaced by each watch. */
  const changed = { announce: (_serverId: string) => {} }
  const running = { calls: new Set<string>() }
  rpc.serve('secrets', (router) => {
    router.service(SecretsService, {
      openSecrets({ statement }) {
        vault.asked++
        if (vault.isDown) throw new Error('down')
        const { serverId } = JSON.parse(Buffer.from(statement?.bytes ?? []).toString())
        const secrets = vault.secrets.get(serverId)
        if (secrets === undefined) throw precondition('statement_superseded', 'superseded')
        return { secrets: secrets.map(encodeSecret) }
      },
      async *watchSecrets(_, { signal }) {
        yield { serverId: '' }
        while (!signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<string>()
          changed.announce = resolve
          signal.addEventListener('abort', () => resolve(''))
          yield { serverId: await promise }
        }
      },
    })
    router.service(StatementService, {
      listStatementKeys: () => ({
        keys: [
          {
            keyId: 'k1',
            publicKey: signing.publicKey.export({ format: 'der', type: 'spki' }),
          },
        ],
      }),
    })
  })
  const linkSocket = join(folder, 'link.sock')
  const startLink = () =>
    listenForBroker({
      socket: linkSocket,
      identity: identities.of('runner'),
      traceOf: () => undefined,
      isInFlight: (slot, call) => running.calls.has(`${slot} ${call}`),
      onConnected: () => {},
      onLost: () => {},
      log: testLog,
    })
  const runner = { link: startLink() }
  for (let slot = 0; slot < SLOTS; slot++) {
    mkdirSync(slotDirectory(folder, slot, 'e'), { recursive: true })
  }
  const brokerOptions = {
    ...{ identity: identities.of('broker'), sql: database.sql, log: testLog, linkSocket },
    ...{ slotsDir: folder, slots: SLOTS, now: () => Date.now() + clock.offsetMs },
    ownListeners: options.ownListeners ?? [],
    resolve: options.resolve,
    extraCa: options.extraCa ?? [],
    limits: options.limits ?? {},
    secrets: rpc.client(SecretsService, 'secrets', 'broker'),
    statements: rpc.client(StatementService, 'secrets', 'broker'),
  }
  const broker = await openBroker(brokerOptions)
  rpc.serve('broker', broker.routes)
  await until(() => runner.link.connected)
  let nextSlot = 0
  const upstreams: RawUpstream[] = []

  return {
    ...{ broker, brokerOptions, rpc, identities, clock, vault, changed },
    ...{ running, runner, startLink, folder },
    sql: database.sql,
    /** A signed serve statement of a new server. */
    sign(part: Partial<ServeStatement>): { statement: ServeStatement; signed: SignedStatement } {
      const statement: ServeStatement = {
        statementVersion: 1,
        kind: 'serve',
        serverId: newId('srv'),
        orgId: newId('org'),
        epoch: 1,
        issuedAt: new Date().toISOString(),
        resourceUrl: 'http://localhost:8787/s/pets/mcp',
        version: 1,
        specDigest: digestOf(''),
        moduleDigest: digestOf(''),
        access: { kind: 'org' },
        egress: [],
        credentials: [],
        ...part,
      }
      return { statement, signed: signStatement(statement, signing.privateKey, 'k1') }
    },
    /** A connected sandbox in a slot of its own, with call 1 in flight; assigned when there is a statement. */
    async sandbox(signed?: SignedStatement): Promise<TestSandbox> {
      const slot = nextSlot++ % SLOTS
      const token = randomBytes(16).toString('hex')
      await runner.link.expect(slot, token)
      const sandbox = await connectSandbox(folder, slot, token)
      running.calls.add(`${slot} 1`)
      if (signed !== undefined) await assign(slot, token, signed)
      return sandbox
    },
    assign,
    /** An upstream that the operator allows, by its name in the private network; it ends with the broker. */
    async upstream(answer: Answer = okAnswer) {
      const server = await rawUpstream(answer)
      upstreams.push(server)
      const targets = rpc.client(TargetService, 'broker', 'operator')
      await targets.allowTarget({ host: 'api.lan', port: server.port })
      return Object.assign(server, { origin: `http://api.lan:${server.port}` })
    },
    async [Symbol.asyncDispose]() {
      for (const server of upstreams) server.close()
      await broker[Symbol.asyncDispose]()
      runner.link.stop()
      await rpc[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }

  function assign(slot: number, token: string, signed: SignedStatement): Promise<void> {
    return runner.link.assign({ slot, token, signed, userId: 'usr_test' })
  }
}

export type TestSandbox = {
  slot: number
  token: string
  connection: FrameConnection
  fetch(url: string, request?: TestFetch): Promise<TestFetched>
  /** Sends the frames of a request without waiting; answers its id. */
  begin(url: string, request?: TestFetch): number
  /** The answer to a begun request. */
  answer(id: number): Promise<TestFetched>
}

/** Says hello as the guest does. */
export async function connectSandbox(
  folder: string,
  slot: number,
  token: string,
): Promise<TestSandbox> {
  const answers = new Map<number, PromiseWithResolvers<TestFetched>>()
  const heads = new Map<number, { status: number; headers: [string, string][] }>()
  const bodies = new Map<number, Uint8Array[]>()
  const ids = callIds()
  const answerOf = (id: number) => {
    const found = answers.get(id) ?? Promise.withResolvers<TestFetched>()
    answers.set(id, found)
    return found
  }
  const connection = await connectFrames({
    unix: `${slotDirectory(folder, slot, 'e')}/${slotFiles.egress}`,
    accept: [FRAME.RESPONSE, FRAME.RESPONSE_BODY, FRAME.RESPONSE_END, FRAME.FETCH_FAILED],
    onFrame(frame: Frame) {
      const id = frame.call
      if (frame.type === FRAME.RESPONSE) heads.set(id, parseControl(frame.payload) as never)
      else if (frame.type === FRAME.RESPONSE_BODY) {
        bodies.set(id, [...(bodies.get(id) ?? []), frame.payload.slice()])
      } else if (frame.type === FRAME.FETCH_FAILED) {
        const { code, message } = parseControl(frame.payload) as { code: string; message: string }
        answerOf(id).resolve({ failed: code, message })
      } else {
        const head = heads.get(id)
        if (head === undefined) throw new Error('an end without a head')
        const body = Buffer.concat(bodies.get(id) ?? []).toString()
        answerOf(id).resolve({ ...head, body })
      }
    },
  })
  connection.sendControl(FRAME.HELLO, 0, { token, protocol: 1 })
  const begin = (url: string, request: TestFetch = {}) => {
    const id = ids.next()
    const { call = 1, method = 'GET', headers = [], body } = request
    const hasBody = body !== undefined
    connection.sendControl(FRAME.FETCH, id, { call, method, url, headers, hasBody })
    if (hasBody) connection.sendParts(FRAME.FETCH_BODY, id, Buffer.from(body as string))
    connection.send(FRAME.FETCH_END, id)
    return id
  }
  const answer = (id: number) =>
    Promise.race([
      answerOf(id).promise,
      connection.closed.then((message): TestFetched => ({ failed: 'closed', message })),
      Bun.sleep(DEADLINE_MS).then((): TestFetched => ({ failed: 'no answer', message: '' })),
    ])
  return {
    ...{ slot, token, connection, begin, answer },
    fetch: (url, request) => answer(begin(url, request)),
  }
}

function encodeSecret({ name, value, scheme, parameter, origins }: TestSecret) {
  return {
    name,
    value: Buffer.from(value),
    destination: { scheme: schemeFrom[scheme], parameter: parameter ?? '', origins },
  }
}
