import { describe, expect, test } from 'bun:test'
import {
  isRegisteredRedirect,
  redirectTarget,
  redirectUriFault,
  redirectWith,
} from './redirect-uri.ts'

describe('a redirect URI that may be registered', () => {
  test.each([
    'https://claude.ai/api/mcp/auth_callback',
    'https://chatgpt.com/connector_platform_oauth_redirect',
    'https://vscode.dev/redirect',
    'http://127.0.0.1:33418/',
    'http://127.0.0.1:33418',
    'http://127.0.0.1/callback?a=b',
    'http://[::1]:8080/callback',
    'http://localhost:6274/oauth/callback',
    'cursor://anysphere.cursor-retrieval/oauth/user-x/callback',
    'vscode://vscode.github-authentication/did-authenticate',
    'com.example.app:/oauth2redirect',
  ])('%s', (uri) => {
    expect(redirectUriFault(uri)).toBeUndefined()
    expect(isRegisteredRedirect(uri, uri)).toBe(true)
  })
})

describe('a redirect URI that is refused', () => {
  test.each([
    'http://example.com/callback',
    'http://127.0.0.2/callback',
    'http://0.0.0.0/callback',
    'http://127.1/callback',
    'http://2130706433/callback',
    'http://localhost.evil.example/callback',
    'http://evil.localhost/callback',
    'http://127.0.0.1:80@evil.example/',
    'http://127.0.0.1:99999/',
    'http://[::1',
    'https://user:pass@example.com/',
    'https://user@example.com/',
    'https://example.com/#fragment',
    'https://example.com/#',
    'https://',
    'https:/example.com',
    'https:example.com',
    'https://exa mple.com/',
    'https://example.com\\@evil.example/',
    'https://example.com/\r\nx',
    'https://exämple.com/',
    'https://example.com/?code=1',
    'https://example.com/?state=1',
    'https://example.com/?%65rror=1',
    'javascript:alert(1)',
    'javascript://example.com/%0aalert(1)',
    'JavaScript:/alert(1)',
    'data:text/html,x',
    'data:/text/html,x',
    'vbscript:/x',
    'file:///etc/passwd',
    'blob:https://example.com/x',
    'about:blank',
    'view-source:/x',
    'ws://127.0.0.1/',
    'intent://x/#Intent;end',
    'ms-msdt:/id',
    'search-ms:/x',
    'myapp:callback',
    '//example.com/',
    '/callback',
    'callback',
    '*',
    '',
    `https://example.com/${'a'.repeat(2_048)}`,
  ])('%s', (uri) => {
    const fault = redirectUriFault(uri)
    expect(fault).toBeDefined()
    if (uri.length > 10) expect(fault).not.toContain(uri)
  })
})

describe('a presented redirect URI', () => {
  const loopback = 'http://127.0.0.1:1000/callback?a=b'
  test.each([
    ['http://127.0.0.1:2000/callback?a=b', true],
    ['http://127.0.0.1/callback?a=b', true],
    ['http://127.0.0.1:1000/callback', false],
    ['http://127.0.0.1:1000/callback?a=b&c=d', false],
    ['http://127.0.0.1:1000/callback/?a=b', false],
    ['http://127.0.0.1:1000/callback?a=b#c', false],
    ['http://127.0.0.1:1000/%63allback?a=b', false],
    ['http://127.0.0.1:1000/CALLBACK?a=b', false],
    ['http://localhost:1000/callback?a=b', false],
    ['http://[::1]:1000/callback?a=b', false],
    ['https://127.0.0.1:1000/callback?a=b', false],
    ['HTTP://127.0.0.1:1000/callback?a=b', false],
    ['http://127.0.0.1:70000/callback?a=b', false],
    ['http://127.0.0.1:1000@evil.example/callback?a=b', false],
    ['http://127.0.0.1.evil.example/callback?a=b', false],
    ['http://127.0.0.1:x/callback?a=b', false],
  ])('%s beside the registered loopback one: %s', (presented, same) => {
    expect(isRegisteredRedirect(loopback, presented)).toBe(same)
  })

  test.each([
    ['https://example.com:8443/callback'],
    ['https://example.com/callback/'],
    ['https://example.com/callback?x'],
    ['https://EXAMPLE.com/callback'],
    ['https://sub.example.com/callback'],
    ['https://example.com.evil.example/callback'],
    ['http://example.com/callback'],
  ])('%s is not the registered https one', (presented) => {
    expect(isRegisteredRedirect('https://example.com/callback', presented)).toBe(false)
  })

  test('keeps its port where it is no loopback address', () => {
    expect(isRegisteredRedirect('https://example.com:1/c', 'https://example.com:2/c')).toBe(false)
    expect(isRegisteredRedirect('app://x:1/c', 'app://x:2/c')).toBe(false)
  })
})

test('the answer goes behind what the URI already has, encoded', () => {
  expect(redirectWith('https://a.example/c', { code: 'x', state: undefined })).toBe(
    'https://a.example/c?code=x',
  )
  expect(redirectWith('app:/c?keep=%2F', { state: 'a&b=c d#e' })).toBe(
    'app:/c?keep=%2F&state=a%26b%3Dc+d%23e',
  )
})

test('the consent page names a host, or the scheme of an application', () => {
  expect(redirectTarget('https://claude.ai/x')).toBe('claude.ai')
  expect(redirectTarget('http://127.0.0.1:5/x')).toBe('127.0.0.1:5')
  expect(redirectTarget('cursor://claude.ai/x')).toBe('cursor')
})
