import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { accessTable, contracts } from '@bmm/lib/contracts'
import { type ServiceName, serviceNames } from '@bmm/lib/identity'
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
