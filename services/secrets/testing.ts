/** A vault of a test file's own: the real service on its own database, with people who confirm and put. */
import { afterAll } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { asUser } from '@bmm/lib/client'
import type { ServiceName } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { testDatabase, testIdentities, testLog, testRpc, testUser } from '@bmm/lib/testing'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { digestOf } from '@bmm/spec/digest'
import { type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { accessSchema } from '@bmm/spec/statement'
import { openChanges } from './changes.ts'
import { openKeyring } from './keyring.ts'
import { openLedger } from './ledger.ts'
import { secretsRoutes } from './service.ts'

export const canary = 'sk-canary-0123456789abcdef'
export const origin = 'https://api.example.com'
export const destination = { scheme: Scheme.BEARER, parameter: '', origins: [origin] }
export const spec: ServerSpec = {
  specVersion: 1,
  name: 'Example',
  description: '',
  tools: [],
  credentials: [{ name: 'API_KEY', description: '', scheme: 'bearer', origins: [origin] }],
  egress: [{ origin }],
}
export const specBytes = serverSpecBytes(spec)
export const specDigest = digestOf(specBytes)
export const moduleDigest = digestOf('')
export const owner = testUser()

export type TestVault = Awaited<ReturnType<typeof openTestVault>>

/** The vault that all tests of a file share. */
export async function vaultOfFile(): Promise<TestVault> {
  const vault = await openTestVault()
  afterAll(() => vault[Symbol.asyncDispose]())
  return vault
}

/** Serves both services of the vault with the real interceptors. */
export async function openTestVault() {
  const kek = randomBytes(32)
  const database = await testDatabase('secrets', join(import.meta.dir, 'migrations'))
  const identities = await testIdentities()
  const keyring = await openKeyring(database.sql, kek)
  const ledger = openLedger({ kek, log: testLog })
  const ending = new AbortController()
  const changes = openChanges(ending.signal)
  const rpc = testRpc(identities)
  rpc.serve(
    'secrets',
    secretsRoutes({ sql: database.sql, keyring, ledger, changes, now: () => new Date() }),
  )

  const secrets = (from: ServiceName) => rpc.client(SecretsService, 'secrets', from)
  const statements = (from: ServiceName) => rpc.client(StatementService, 'secrets', from)
  const user = async (of = owner, confirmDigest?: string) =>
    asUser(await identities.mintUser(of, confirmDigest === undefined ? {} : { confirmDigest }))

  /** Confirms and signs: a server of `owner` with one serve statement. */
  async function makeServer(bytes = specBytes, of = owner, serverId = newId('srv')) {
    const confirmationId = newId('cnf')
    const request = {
      confirmationId,
      serverId,
      spec: bytes,
      specDigest: digestOf(bytes),
      resourceUrl: 'http://localhost:8787/s/example/mcp',
      access: '{"kind":"org"}',
    }
    await statements('generator').recordConfirmation(request, await user(of, confirmedIn(request)))
    const signing = { confirmationId, version: 1, moduleDigest }
    const { statement, epoch } = await statements('generator').signServe(signing)
    if (statement === undefined) throw new Error('no statement')
    return { serverId, confirmationId, request, statement, epoch }
  }

  const put = async (serverId: string, overrides = {}, of = owner) =>
    secrets('gateway').putSecret(
      { serverId, name: 'API_KEY', value: Buffer.from(canary), destination, ...overrides },
      await user(of),
    )

  return {
    ...{ kek, database, keyring, secrets, statements, user, makeServer, put },
    /** Ends watches, as the end of the process does. */
    endWatches: () => ending.abort(),
    async [Symbol.asyncDispose]() {
      ending.abort()
      await rpc[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** What the person confirmed who agrees to this request. */
export function confirmedIn(request: {
  specDigest: string
  resourceUrl: string
  access: string
}): string {
  const { specDigest, resourceUrl, access } = request
  return confirmationDigest({
    specDigest,
    resourceUrl,
    access: accessSchema.parse(JSON.parse(access)),
  })
}
