import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { accessTable, contracts, externalTable } from '@bmm/lib/contracts'
import { type ServiceName, serviceNames } from '@bmm/lib/identity'
import { scopeFor, scopeNames, scopesHave } from '@bmm/lib/permission'
import { type TestIdentities, type TestRpc, testIdentities, testRpc } from '@bmm/lib/testing'
import { Permission } from '@bmm/proto/v1/options'
import { create, toBinary } from '@bufbuild/protobuf'

let identities: TestIdentities
let rpc: TestRpc

beforeAll(async () => {
  identities = await testIdentities()
  rpc = testRpc(identities)
  for (const [process, services] of Object.entries(contracts)) {
    rpc.serve(process as ServiceName, (router) => {
      for (const service of services) router.service(service, {})
    })
  }
})
afterAll(() => rpc[Symbol.asyncDispose]())

test('strangers may call what says so, and each of it needs a permission that a scope gives', () => {
  expect(externalTable().map(({ path }) => path)).toEqual([
    '/bmm.generator.v1.DraftService/CreateDraft',
    '/bmm.generator.v1.DraftService/GetDraft',
    '/bmm.generator.v1.ServerService/CreateServer',
    '/bmm.generator.v1.ServerService/GetServer',
    '/bmm.generator.v1.ServerService/ListServers',
    '/bmm.generator.v1.ServerService/GetServerSpec',
    '/bmm.generator.v1.ServerService/PauseServer',
    '/bmm.generator.v1.ServerService/ResumeServer',
    '/bmm.generator.v1.ServerService/DeleteServer',
    '/bmm.generator.v1.BuildService/GetBuild',
    '/bmm.generator.v1.BuildService/CancelBuild',
    '/bmm.generator.v1.BuildService/RetryBuild',
    '/bmm.generator.v1.BuildService/WatchBuild',
    '/bmm.runner.v1.LogService/ListLogs',
    '/bmm.runner.v1.LogService/WatchLogs',
    '/bmm.runner.v1.StatsService/GetCallStats',
    '/bmm.runner.v1.StatsService/GetUsage',
    '/bmm.broker.v1.RefusalService/ListRefusals',
    '/bmm.gateway.v1.ToolService/ListTools',
    '/bmm.gateway.v1.ToolService/CallTool',
  ])
  for (const row of externalTable()) expect(scopeFor(row.permission)).toBeDefined()
})

describe.each(accessTable())('$path', ({ process, method, path, callers, permission }) => {
  test('names at least one caller', () => expect(callers.length).toBeGreaterThan(0))

  test.each([...serviceNames])('as %s', async (from) => {
    const token = await identities.of(from).sign(process as ServiceName, path)
    const refused = /caller_not_allowed|may not call/
    const answer = await post(process, path, token)
    if (callers.includes(from)) expect(answer.text).not.toMatch(refused)
    else expect([answer.status, answer.text]).toEqual([403, expect.stringMatching(refused)])
  })

  test('is refused without a token, with one for another method, and by a role without the permission', async () => {
    expect((await post(process, path, undefined)).status).toBe(401)
    const [from] = callers
    if (from === undefined) throw new Error('no caller')
    const elsewhere = await identities.of(from).sign(process as ServiceName, '/bmm.Other/Method')
    expect((await post(process, path, elsewhere)).status).toBe(401)
    if (permission === Permission.UNSPECIFIED) return
    const token = () => identities.of(from).sign(process as ServiceName, path)
    expect((await post(process, path, await token())).status).toBe(401)
    const nobody = await identities.mintUser({ role: 'stranger' })
    expect((await post(process, path, await token(), nobody)).status).toBe(403)
  })

  test('is refused to a service token without a scope for it, and to all of them where none is meant', async () => {
    const [from] = callers
    if (from === undefined) throw new Error('no caller')
    const needed = scopeFor(permission)
    const others = scopeNames.filter((scope) => !scopesHave([scope], permission))
    const token = () => identities.of(from).sign(process as ServiceName, path)
    const lacking = await identities.mintUser({}, { scopes: [...others, 'root', 'constructor'] })
    const refused = await post(process, path, await token(), lacking)
    expect([refused.status, refused.text]).toEqual([
      403,
      expect.stringMatching(/scope_missing|service token/i),
    ])
    if (needed === undefined) return
    const having = await identities.mintUser({}, { scopes: [needed] })
    expect((await post(process, path, await token(), having)).status).not.toBe(403)
  })

  async function post(to: string, at: string, token?: string, user?: string) {
    const streaming = method.methodKind !== 'unary'
    const message = toBinary(method.input, create(method.input))
    const body = streaming
      ? Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message])
      : message
    const response = await fetch(`http://rpc.localhost${at}`, {
      method: 'POST',
      unix: join(rpc.rpcDir, to, 'rpc.sock'),
      body,
      headers: {
        'content-type': streaming ? 'application/connect+proto' : 'application/proto',
        'connect-protocol-version': '1',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(user === undefined ? {} : { 'bmm-user': user }),
      },
    })
    const text = await response.text()
    return { status: streaming ? streamStatus(text) : response.status, text }
  }
})

/** A Connect stream is always 200; its end frame says what happened. */
function streamStatus(text: string): number {
  if (text.includes('"permission_denied"')) return 403
  return text.includes('"unauthenticated"') ? 401 : 200
}
