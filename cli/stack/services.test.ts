/** What no sandbox may reach: every listener of the gateway, by each of its addresses. */
import { expect, test } from 'bun:test'
import { ownListeners } from './services.ts'

const facts = { port: 8787, grpcPort: 9787, publicUrl: 'https://mcp.example.test' }

test('lists both ports of loopback and of every address of BMM_LISTEN', () => {
  const listed = ownListeners({ ...facts, passed: { BMM_LISTEN: '203.0.113.9,2001:db8::5' } })
  for (const host of ['localhost', '127.0.0.1', '[::1]', '203.0.113.9', '[2001:db8::5]']) {
    for (const port of [8787, 9787]) expect(listed.split(',')).toContain(`${host}:${port}`)
  }
  expect(listed).toContain('mcp.example.test:443')
})

test('lists loopback beside an address that stands for all', () => {
  const listed = ownListeners({ ...facts, passed: { BMM_LISTEN: '::' } }).split(',')
  expect(listed).toEqual(expect.arrayContaining(['localhost:8787', '127.0.0.1:9787', '[::]:8787']))
})
