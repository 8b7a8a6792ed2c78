import { expect, test } from 'bun:test'
import { serveStatement, servingDeployment, signedBy, testServer, testSigner } from '../testing.ts'
import { failedCallLines } from './failed-calls.ts'

test('sixty failures a minute of a server have a line each, the next minute says how many had none', () => {
  let at = 0
  const lines: string[] = []
  const say = failedCallLines({ now: () => at, write: (_, { message }) => lines.push(message) })
  const deployment = () => {
    const server = testServer()
    const statement = serveStatement(server, 1)
    return servingDeployment(signedBy(testSigner(), statement), statement, server.artefacts)
  }
  const [loud, quiet] = [deployment(), deployment()]
  const call = { tool: 'echo', requestId: 'req', message: 'It failed.' }
  for (let n = 0; n < 100; n++) say(loud, call)
  expect(lines).toHaveLength(60)
  say(quiet, call)
  expect(lines).toHaveLength(61)
  at = 60_000
  say(loud, call)
  expect(lines.slice(61)).toEqual([
    '40 more calls failed in the minute before, without a line each.',
    'It failed.',
  ])
})
