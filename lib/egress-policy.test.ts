import { expect, test } from 'bun:test'
import { networkInterfaces } from 'node:os'
import {
  addressesOf,
  destinationOf,
  EgressError,
  type EgressPolicy,
  publicPolicy,
} from './egress-policy.ts'

function codeOf(act: () => unknown): string {
  try {
    act()
    return 'allowed'
  } catch (error) {
    return error instanceof EgressError ? error.code : String(error)
  }
}

async function resolved(url: string, policy: EgressPolicy): Promise<string> {
  try {
    return (await addressesOf(destinationOf(url, policy), policy)).join(',')
  } catch (error) {
    return error instanceof EgressError ? error.code : String(error)
  }
}

function answering(...addresses: string[]): EgressPolicy {
  return publicPolicy({ resolve: async () => addresses })
}

function allowing(target: string, ...addresses: string[]): EgressPolicy {
  return publicPolicy({
    resolve: async () => addresses,
    isTargetAllowed: (host, port) => `${host}:${port}` === target,
  })
}

test.each([
  ['http://127.0.0.1/', 'private_address'],
  ['http://2130706433/', 'private_address'],
  ['http://0x7f000001/', 'private_address'],
  ['http://0177.0.0.1/', 'private_address'],
  ['http://127.1/', 'private_address'],
  ['http://１２７.0.0.1/', 'private_address'],
  ['http://127.0.0.1./', 'private_address'],
  ['http://0/', 'private_address'],
  ['http://[::1]/', 'private_address'],
  ['http://[::ffff:127.0.0.1]/', 'private_address'],
  ['http://[0:0:0:0:0:ffff:7f00:1]/', 'private_address'],
  ['http://[64:ff9b::7f00:1]/', 'private_address'],
  ['http://169.254.169.254/latest/meta-data', 'private_address'],
  ['http://localhost/', 'host_refused'],
  ['http://LOCALHOST/', 'host_refused'],
  ['http://ⓛocalhost/', 'host_refused'],
  ['http://localhost./', 'host_refused'],
  ['http://foo.localhost/', 'host_refused'],
  ['http://metadata.google.internal/', 'host_refused'],
  ['http://redis/', 'host_refused'],
  ['http://api.example.com./', 'host_refused'],
  ['ftp://example.com/', 'scheme_refused'],
  ['file:///etc/passwd', 'scheme_refused'],
  ['http://user:pw@example.com/', 'userinfo_refused'],
  ['http://user@example.com/', 'userinfo_refused'],
  ['//example.com/', 'url_invalid'],
  ['http://exa mple.com/', 'url_invalid'],
  [`http://example.com/${'a'.repeat(20_000)}`, 'url_invalid'],
  ['https://api.example.com/v1', 'allowed'],
  ['https://8.8.8.8/', 'allowed'],
  ['https://[2606:4700:4700::1111]/', 'allowed'],
])('%s is decided without DNS: %s', (url, code) => {
  const resolve = async () => expect.unreachable('DNS must not be asked')
  expect(codeOf(() => destinationOf(url, publicPolicy({ resolve })))).toBe(code)
})

test('a name is allowed only when every address is public', async () => {
  const url = 'https://api.example.com/'
  expect(await resolved(url, answering('93.184.215.14', '2606:4700::1'))).toBe(
    '93.184.215.14,2606:4700::1',
  )
  expect(await resolved(url, answering('93.184.215.14', '10.0.0.1'))).toBe('private_address')
  expect(await resolved(url, answering('93.184.215.14', '::ffff:127.0.0.1'))).toBe(
    'private_address',
  )
  expect(await resolved(url, answering('64:ff9b::7f00:1'))).toBe('private_address')
  expect(await resolved(url, answering('169.254.169.254'))).toBe('private_address')
  expect(await resolved(url, answering('not an address'))).toBe('private_address')
  expect(await resolved(url, answering())).toBe('unresolved')
})

test('a resolver that throws is an unresolved name', async () => {
  const policy = publicPolicy({ resolve: () => Promise.reject(new Error('SERVFAIL')) })
  expect(await resolved('https://api.example.com/', policy)).toBe('unresolved')
})

test('an allowed target is exactly one name and port', async () => {
  const policy = allowing('intranet.corp:8080', '10.0.0.7')
  expect(await resolved('http://intranet.corp:8080/x', policy)).toBe('10.0.0.7')
  expect(await resolved('http://intranet.corp:8081/x', policy)).toBe('host_refused')
  expect(await resolved('http://intranet.corp/x', policy)).toBe('host_refused')
  expect(await resolved('http://10.0.0.7:8080/x', policy)).toBe('private_address')
  expect(await resolved('http://other.corp:8080/x', policy)).toBe('host_refused')
})

test('an allowed target may be an address in any spelling of it', async () => {
  const policy = allowing('127.0.0.1:3000')
  expect(await resolved('http://127.1:3000/', policy)).toBe('127.0.0.1')
  expect(await resolved('http://[::1]:3000/', allowing('::1:3000'))).toBe('::1')
})

test('an allowed target never leads to a metadata service or to multicast', async () => {
  expect(await resolved('http://box.lan:80/', allowing('box.lan:80', '169.254.169.254'))).toBe(
    'private_address',
  )
  expect(await resolved('http://169.254.169.254/', allowing('169.254.169.254:80'))).toBe(
    'private_address',
  )
  expect(
    await resolved('http://metadata.google.internal/', allowing('metadata.google.internal:80')),
  ).toBe('host_refused')
  expect(await resolved('http://box.lan/', allowing('box.lan:80', '239.1.1.1'))).toBe(
    'private_address',
  )
})

test('the platform itself is never reachable, by none of its names, even where a target is allowed', async () => {
  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')
  const policy: EgressPolicy = {
    resolve: async (name) => (name === 'lan.example.com' ? [own?.address ?? '127.0.0.1'] : ['::1']),
    isTargetAllowed: () => true,
    ownListeners: ['127.0.0.1:8080', '[::1]:8080', 'mcp.example.org:443'],
  }
  expect(await resolved('http://127.0.0.1:8080/', policy)).toBe('own_listener')
  expect(await resolved('http://127.9.9.9:8080/', policy)).toBe('own_listener')
  expect(await resolved('http://[::1]:8080/', policy)).toBe('own_listener')
  expect(await resolved('http://[::ffff:127.0.0.1]:8080/', policy)).toBe('own_listener')
  expect(await resolved('http://localhost:8080/', policy)).toBe('own_listener')
  expect(await resolved('http://lan.example.com:8080/', policy)).toBe('own_listener')
  expect(await resolved('https://mcp.example.org/', policy)).toBe('own_listener')
  expect(await resolved('http://localhost:8081/', policy)).toBe('::1')
})

test('a refusal names the host and what the operator can do, and never the path', () => {
  try {
    destinationOf('http://localhost:3000/secret-path?key=hunter2', publicPolicy())
    expect.unreachable()
  } catch (error) {
    if (!(error instanceof EgressError)) throw error
    expect(error.message).toContain('./bmm targets allow localhost:3000 --org ID')
    expect(error.message).not.toContain('secret-path')
    expect(error.message).not.toContain('hunter2')
    expect(error.isRefusal).toBe(true)
  }
})
