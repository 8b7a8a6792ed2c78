import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BuildService, DraftService } from '@bmm/proto/generator/v1/generator_service'
import { Code, ConnectError } from '@connectrpc/connect'
import { asUser, rpcClient, watch } from './client.ts'
import { conflict, fieldFaultsOf, limited, reasonOf, retryAfterOf } from './errors.ts'
import { newId } from './ids.ts'
import { openSql } from './sql.ts'
import {
  type TestIdentities,
  type TestRpc,
  testDatabase,
  testIdentities,
  testRpc,
} from './testing.ts'

let identities: TestIdentities
let rpc: TestRpc
let behaviour: () => Promise<never>
let streamEnded: Promise<void>

beforeAll(async () => {
  identities = await testIdentities()
  rpc = testRpc(identities)
  const ended = Promise.withResolvers<void>()
  streamEnded = ended.promise
  rpc.serve('generator', (router) => {
    router.service(DraftService, { getDraft: () => behaviour() })
    router.service(BuildService, {
      async *watchBuild(_request, context) {
        try {
          for (let seq = 1n; ; seq++) {
            yield { event: { seq } }
            await new Promise((resolve, reject) => {
              setTimeout(resolve, 20)
              context.signal.addEventListener('abort', () => reject(new Error('gone')))
            })
          }
        } finally {
          ended.resolve()
        }
      },
    })
  })
})
afterAll(() => rpc[Symbol.asyncDispose]())

async function failure(
  throwing: () => Promise<never>,
  draftId = newId('dft'),
): Promise<ConnectError> {
  behaviour = throwing
  const drafts = rpc.client(DraftService, 'generator', 'gateway')
  const options = asUser(await identities.mintUser(), 'request-1')
  return drafts.getDraft({ draftId }, options).then(
    () => {
      throw new Error('it did not fail')
    },
    (error) => ConnectError.from(error),
  )
}

test('a deliberate error arrives with its code, reason, sentence and delay', async () => {
  const taken = await failure(async () => {
    throw conflict('slug_taken', 'The slug is taken.')
  })
  expect([taken.code, reasonOf(taken), taken.rawMessage]).toEqual([
    Code.AlreadyExists,
    'slug_taken',
    'The slug is taken.',
  ])
  const busy = await failure(async () => {
    throw limited('rate_limited', 'Too often.', { retryAfterSeconds: 7 })
  })
  expect([busy.code, retryAfterOf(busy)]).toEqual([Code.ResourceExhausted, 7])
})

test('an unexpected error tells the caller nothing but the request id', async () => {
  const bug = await failure(async () => {
    throw new Error('password is canary')
  })
  expect(bug.code).toBe(Code.Internal)
  expect(bug.rawMessage).toBe('internal error (request request-1)')
})

test('text with a NUL is the fault of the request', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-nul-'))
  await using database = await testDatabase('nul', folder)
  for (const query of [
    () => database.sql`select ${'a\0canary'}::text`,
    () => database.sql`select ${database.sql.json({ a: '\0canary' })}::jsonb`,
  ]) {
    const error = await failure(async () => {
      await query()
      throw new Error('it did not fail')
    })
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, 'invalid_request'])
    expect(error.rawMessage).not.toContain('canary')
  }
  rmSync(folder, { recursive: true })
})

test('a database that cannot be reached is unavailable, not a bug', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-outage-'))
  await using database = await testDatabase('outage', folder)
  const gone = new URL(database.url)
  gone.searchParams.set('host', '/nowhere')
  const unreachable = openSql(gone.href, { schema: 'outage' })
  const ended = openSql(database.url, { schema: 'outage', max: 1 })
  const outages = {
    'no socket': () => unreachable`select 1`,
    'out of room': () => ended.unsafe(`do $$ begin raise sqlstate '53100'; end $$`),
    'out of time': () => ended.unsafe('set statement_timeout = 1; select pg_sleep(1)'),
    'ended by the server': () => ended`select pg_terminate_backend(pg_backend_pid())`,
  }
  for (const [what, query] of Object.entries(outages)) {
    const error = await failure(async () => {
      await query()
      throw new Error('it did not fail')
    })
    expect([what, error.code, reasonOf(error)]).toEqual([
      what,
      Code.Unavailable,
      'store_unavailable',
    ])
    expect(retryAfterOf(error)).toBeGreaterThan(0)
  }
  const wrong = await failure(async () => {
    await database.sql`select 1 from nothing_of_that_name`
    throw new Error('it did not fail')
  })
  expect(wrong.code).toBe(Code.Internal)
  for (const sql of [unreachable, ended]) await sql.end({ timeout: 1 })
  rmSync(folder, { recursive: true })
})

test('malformed input is told in a sentence, with field and rule and without the input', async () => {
  const bad = await failure(() => Promise.reject(new Error('unreached')), 'canary-id')
  expect([bad.code, reasonOf(bad)]).toEqual([Code.InvalidArgument, 'invalid_request'])
  expect(bad.rawMessage).toBe('That is not the id of a draft: those begin with dft_.')
  expect(fieldFaultsOf(bad)).toEqual([
    { path: 'draft_id', message: 'is not an id of the form dft_…' },
  ])
  expect(JSON.stringify(bad) + bad.rawMessage).not.toContain('canary')
})

test('a service that does not answer is unavailable, by name', async () => {
  const options = { identity: identities.of('gateway'), rpcDir: rpc.rpcDir, to: 'runner' } as const
  const client = rpcClient(DraftService, options)
  const error = await client.getDraft({ draftId: newId('dft') }).catch(ConnectError.from)
  expect(error).toMatchObject({
    code: Code.Unavailable,
    rawMessage: 'The service runner does not answer.',
  })
})

test('leaving a watched stream ends it on the server', async () => {
  const builds = rpc.client(BuildService, 'generator', 'gateway')
  const options = asUser(await identities.mintUser())
  let seen = 0
  for await (const { event } of watch(builds.watchBuild, { buildId: newId('bld') }, options)) {
    seen = Number(event?.seq)
    if (seen === 3) break
  }
  expect(seen).toBe(3)
  await streamEnded
})
