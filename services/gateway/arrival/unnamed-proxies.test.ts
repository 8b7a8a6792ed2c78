/** Unnamed proxies: which are warned of, how often, and that other clients cannot abuse the warning. */
import { expect, test } from 'bun:test'
import type { Log } from '@bmm/lib/log'
import { testLog } from '@bmm/lib/testing'
import { trustedProxies } from './client-ip.ts'
import { unnamedProxies } from './unnamed-proxies.ts'

function watched() {
  const lines: unknown[] = []
  const log: Log = Object.assign(Object.create(testLog), {
    warn: (_: object, line: string) => lines.push(line),
  })
  const proxies = unnamedProxies({ trusted: trustedProxies(['10.0.0.9']), log })
  const see = (peer: string, headers: Record<string, string>) =>
    proxies.see(
      () => peer,
      (name) => headers[name],
    )
  return { proxies, see, lines }
}

test('counts each request and logs each peer once, with what to set', () => {
  const { proxies, see, lines } = watched()
  expect(proxies.warning()).toBeUndefined()
  for (const name of ['x-forwarded-for', 'forwarded', 'x-forwarded-proto', 'x-forwarded-host']) {
    see('::ffff:10.0.0.8', { [name]: 'anything' })
  }
  see('127.0.0.1', { forwarded: 'for=1.2.3.4' })
  expect([proxies.count(), lines.length]).toEqual([5, 2])
  expect(lines[0]).toContain('start with BMM_TRUSTED_PROXIES=10.0.0.8;')
  expect(proxies.warning()).toContain('BMM_TRUSTED_PROXIES=10.0.0.8,127.0.0.1;')
})

test('says nothing of a trusted proxy, nor of a peer that forwards nothing', () => {
  const { proxies, see, lines } = watched()
  see('10.0.0.9', { 'x-forwarded-for': '1.2.3.4' })
  see('10.0.0.8', { accept: '*/*' })
  expect([proxies.count(), lines, proxies.warning()]).toEqual([0, [], undefined])
})

test('keeps a bounded number of addresses for the log', () => {
  const { proxies, see, lines } = watched()
  for (let at = 1; at <= 40; at++) see(`203.0.114.${at}`, { 'x-forwarded-for': '1.2.3.4' })
  expect([proxies.count(), lines.length]).toEqual([40, 16])
  expect(lines[0]).toContain('203.0.114.1')
  expect(proxies.warning()).toContain('an address that the log of the gateway names')
  expect(proxies.warning()).not.toContain('203.0.114')
})
