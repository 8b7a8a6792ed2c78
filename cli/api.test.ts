import { afterAll, beforeAll, expect, test } from 'bun:test'
import { basename } from 'node:path'
import { send } from './api.ts'
import type { Gateway } from './reach.ts'

let gateway: Bun.Server<undefined>
beforeAll(() => {
  gateway = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request) =>
      Response.json(
        { detail: 'It is not there.', code: basename(new URL(request.url).pathname) },
        { status: 404 },
      ),
  })
})
afterAll(() => gateway.stop(true))

function here(): Gateway {
  return { origin: 'https://mcp.example.test', port: gateway.port ?? 0 }
}

test.each([
  ['server_not_found', 'servers list'],
  ['v1/servers/pets/credentials/credential_unknown', 'credentials list pets'],
  // Creating a server: there is none to look at.
  ['v1/servers/credential_unknown', undefined],
  ['session_missing', 'login --email YOU@EXAMPLE.COM'],
  ['build_not_found', undefined],
])('%s names the command that helps, where there is one', async (path, next) => {
  const fault = await send(here(), `/${path}`, {}).catch((error: unknown) => error)
  expect(fault).toMatchObject({ code: basename(path), message: 'It is not there.', next })
})
