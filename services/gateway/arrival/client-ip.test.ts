/** The truth tables of X-Forwarded-For and Forwarded: who is believed, and where the walk stops. */
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
  ['a hop with its port', '127.0.0.1', '198.51.100.1:4711', '198.51.100.1'],
  ['two hops with ports', '127.0.0.1', '198.51.100.1:4711, 10.1.2.3:80', '198.51.100.1'],
  ['IPv6 in brackets', '127.0.0.1', '[2001:db8::7]', '2001:db8::7'],
  ['IPv6 in brackets with a port', '127.0.0.1', '[2001:db8::7]:4711', '2001:db8::7'],
  ['a mapped hop with a port', '127.0.0.1', '[::ffff:198.51.100.1]:4711', '198.51.100.1'],
  ['a port that is no number', '127.0.0.1', '198.51.100.1:http', '127.0.0.1'],
  ['a port without digits', '127.0.0.1', '198.51.100.1:', '127.0.0.1'],
  ['IPv4 in brackets', '127.0.0.1', '[198.51.100.1]:80', '127.0.0.1'],
  ['brackets that do not close', '127.0.0.1', '[2001:db8::7', '127.0.0.1'],
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
      expect(clientIp(peer, { forwardedFor: forwarded, forwarded: null }, trusted)).toBe(expected)
    })
  }

  test('believes nobody when no proxy is configured', () => {
    const headers = { forwardedFor: '1.2.3.4', forwarded: 'for=1.2.3.4' }
    expect(clientIp('127.0.0.1', headers, trustedProxies([]))).toBe('127.0.0.1')
  })
})

/** Of RFC 7239; the peer is a trusted proxy. */
const forwardedTable: [why: string, forwarded: string, expected: string][] = [
  ['an address', 'for=198.51.100.1', '198.51.100.1'],
  [
    'other parameters and cases',
    'proto=https;For="198.51.100.1:4711"; by=10.0.0.1',
    '198.51.100.1',
  ],
  ['IPv6 as it must be quoted', 'for="[2001:db8::7]:4711"', '2001:db8::7'],
  ['IPv6 without the quotes', 'for=[2001:db8::7]', '2001:db8::7'],
  ['a port that hides', 'for="198.51.100.1:_gazonk"', '198.51.100.1'],
  ['two proxies', 'for=198.51.100.1, for=10.1.2.3', '198.51.100.1'],
  ['a forged left', 'for=1.2.3.4, for=198.51.100.1', '198.51.100.1'],
  ['a quote that swallows what follows', 'for="1.2.3.4, for=198.51.100.1', '198.51.100.1'],
  ['a hidden node', 'for=198.51.100.1, for=_hidden', '127.0.0.1'],
  ['an unknown node', 'for=unknown', '127.0.0.1'],
  ['an element without it', 'for=198.51.100.1, proto=https', '127.0.0.1'],
  ['an element with two', 'for=198.51.100.1;for=1.2.3.4', '127.0.0.1'],
  ['an address alone', '198.51.100.1', '127.0.0.1'],
  ['an empty header', '', '127.0.0.1'],
]

describe('the visitor that Forwarded tells of', () => {
  for (const [why, forwarded, expected] of forwardedTable) {
    test(`${why} is ${expected}`, () => {
      expect(clientIp('127.0.0.1', { forwardedFor: null, forwarded }, trusted)).toBe(expected)
    })
  }

  test('is not believed from an untrusted peer', () => {
    const headers = { forwardedFor: null, forwarded: 'for=198.51.100.1' }
    expect(clientIp('203.0.113.5', headers, trusted)).toBe('203.0.113.5')
  })

  test('is believed beside an X-Forwarded-For that says the same, and neither where they differ', () => {
    const both = (forwardedFor: string, forwarded: string) =>
      clientIp('127.0.0.1', { forwardedFor, forwarded }, trusted)
    expect(both('198.51.100.1:80', 'for=198.51.100.1')).toBe('198.51.100.1')
    expect(both('198.51.100.1', 'for=1.2.3.4')).toBe('127.0.0.1')
    expect(both('1.2.3.4', 'for=198.51.100.1')).toBe('127.0.0.1')
    expect(both('198.51.100.1', 'junk')).toBe('127.0.0.1')
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
