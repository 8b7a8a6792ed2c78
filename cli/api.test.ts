import { afterAll, beforeAll, expect, test } from 'bun:test'
import { send } from './api.ts'

let gateway: Bun.Server<undefined>
beforeAll(() => {
  gateway = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request) =>
      Response.json(
        { detail: 'It is not there.', code: new URL(request.url).pathname.slice(1) },
        { status: 404 },
      ),
  })
})
afterAll(() => gateway.stop(true))

test.each([
  ['server_not_found', 'servers list'],
  ['credential_unknown', 'credentials list SERVER'],
  ['session_missing', 'login --email YOU@EXAMPLE.COM'],
  ['build_not_found', undefined],
])('%s names the command that helps, where there is one', async (code, next) => {
  const fault = await send(String(gateway.url), `/${code}`, {}).catch((error: unknown) => error)
  expect(fault).toMatchObject({ code, message: 'It is not there.', next })
})
