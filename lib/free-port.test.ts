import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { findFreePort, isFreePort } from './free-port.ts'

test('a free port is none that the kernel gives to somebody else meanwhile', () => {
  const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number)
  // Where it gives away all, there is nothing better.
  const isAll = low <= 10_000 && high >= 65_535
  for (let time = 0; time < 20; time++) {
    const port = findFreePort() ?? 0
    expect([port, port > 1_023, port >= low && port <= high]).toEqual([port, true, isAll])
  }
})

test.each(['127.0.0.1', '::1'])('one that is taken on %s is not free', (hostname) => {
  const listener = Bun.listen({ hostname, port: 0, socket: { data() {} } })
  expect(isFreePort(listener.port)).toBe(false)
  listener.stop(true)
  expect(isFreePort(listener.port)).toBe(true)
})
