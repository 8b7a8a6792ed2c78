import { afterAll, beforeAll, expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
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
  ['server_not_found', 'It is not there. (./bmm servers list)'],
  ['credential_unknown', 'It is not there. (./bmm credentials list SERVER)'],
  ['session_missing', 'It is not there. (./bmm login --email YOU@EXAMPLE.COM)'],
  ['build_not_found', 'It is not there.'],
])('%s names the command that helps, where there is one', async (code, sentence) => {
  expect(await outcomeOf(send(String(gateway.url), `/${code}`, {}))).toThrow(
    new RegExp(`^${RegExp.escape(sentence)}$`),
  )
})
