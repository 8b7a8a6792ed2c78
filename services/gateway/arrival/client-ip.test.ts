/** The truth table of X-Forwarded-For: who is believed, and where the walk stops. */
import { describe, expect, test } from 'bun:test'
import { clientIp, trustedProxies } from './client-ip.ts'

const trusted = trustedProxies(['127.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8'])

const table: [why: string, peer: string, forwarded: string | null, expected: string][] = [
  ['no header', '127.0.0.1', null, '127.0.0.1'],
  ['stranger without a header', '203.0.113.5', null, '203.0.113.5'],
  ['stranger who claims an address', '203.0.113.5', '198.51.100.1', '203.0.113.5'],
  ['stranger who claims our proxy', '203.0.113.5', '127.0.0.1', '203.0.113.5'],
  ['one trusted proxy', '127.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['two trusted proxies', '127.0.0.1', '198.51.100.1, 10.1.2.3', '198.51.100.1'],
  ['a visitor who forges the left', '127.0.0.1', '1.2.3.4, 198.51.100.1', '198.51.100.1'],
  [
    'a forged left behind two proxies',
    '127.0.0.1',
    '1.2.3.4, 198.51.100.1, 10.1.1.1',
    '198.51.100.1',
  ],
  ['only trusted hops', '127.0.0.1', '10.0.0.2, 10.0.0.1', '10.0.0.2'],
  ['junk at the right', '127.0.0.1', '198.51.100.1, unknown', '127.0.0.1'],
  ['junk in the middle', '127.0.0.1', '198.51.100.1, nonsense, 10.0.0.1', '10.0.0.1'],
  ['an empty header', '127.0.0.1', '', '127.0.0.1'],
  ['empty entries', '127.0.0.1', ' , ', '127.0.0.1'],
  ['a port is junk', '127.0.0.1', '198.51.100.1:4711', '127.0.0.1'],
  ['a mapped peer', '::ffff:127.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['a mapped hop', '127.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
  ['an IPv6 peer', '::1', '2001:db8::7', '2001:db8::7'],
  ['an IPv6 range', 'fd12::9', '2001:db8::7', '2001:db8::7'],
  ['an IPv6 stranger', '2001:db8::1', '198.51.100.1', '2001:db8::1'],
  ['octal tricks are junk', '127.0.0.1', '010.0.0.1', '127.0.0.1'],
]

describe('the visitor behind', () => {
  for (const [why, peer, forwarded, expected] of table) {
    test(`${why} is ${expected}`, () => {
      expect(clientIp(peer, forwarded, trusted)).toBe(expected)
    })
  }

  test('believes nobody when no proxy is configured', () => {
    expect(clientIp('127.0.0.1', '1.2.3.4', trustedProxies([]))).toBe('127.0.0.1')
  })
})

describe('proxies in the configuration', () => {
  for (const entry of [
    'localhost',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '::/129',
    '',
    '1.2.3',
  ]) {
    test(`"${entry}" is refused by name`, () => {
      expect(() => trustedProxies([entry])).toThrow(`"${entry}"`)
    })
  }
})
