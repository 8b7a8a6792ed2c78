/** A session after a login: what is kept, where it is sent, and what is not. */
import { describe, expect, test } from 'bun:test'
import { createCookieJar } from './cookie-jar.ts'

const origin = 'https://api.example.com'
const set = (...values: string[]) => values.map((value) => ['set-cookie', value] as const)

function sent(jar: ReturnType<typeof createCookieJar>, url: string, own?: string) {
  const headers = jar.withCookies(url, own === undefined ? [] : [['Cookie', own]])
  return headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`)
}

describe('a cookie of an answer', () => {
  test('goes back to its origin, in one header with the request’s own', () => {
    const jar = createCookieJar()
    const names = jar.take(`${origin}/login`, set('sid=a1; HttpOnly; Secure; Path=/', 'lang=de'))
    expect(names).toEqual(['sid', 'lang'])
    expect(sent(jar, `${origin}/me?x=1`)).toEqual(['cookie: sid=a1; lang=de'])
    expect(sent(jar, `${origin}/me`, 'lang=en; cart=1')).toEqual([
      'cookie: lang=en; cart=1; sid=a1',
    ])
  })

  test.each([
    'http://api.example.com/',
    'https://api.example.com:8443/',
    'https://www.api.example.com/',
    'https://example.com/',
  ])('does not go to %s, whatever its Domain says', (elsewhere) => {
    const jar = createCookieJar()
    jar.take(`${origin}/`, set('sid=a1; Domain=example.com; Path=/'))
    expect(sent(jar, elsewhere)).toEqual([])
  })

  test('goes to its path and below, longer paths first', () => {
    const jar = createCookieJar()
    jar.take(`${origin}/v1/login`, set('a=1', 'b=2; Path=/v1/users', 'c=3; Path=/'))
    expect(sent(jar, `${origin}/v1/users/7`)).toEqual(['cookie: b=2; a=1; c=3'])
    expect(sent(jar, `${origin}/v1/usersx`)).toEqual(['cookie: a=1; c=3'])
    expect(sent(jar, `${origin}/v2`)).toEqual(['cookie: c=3'])
  })

  test('ends when it says so, and a deletion takes it out', () => {
    let nowMs = 1_000_000
    const jar = createCookieJar(() => nowMs)
    jar.take(`${origin}/`, set('a=1; Max-Age=10', 'b=2; Expires=Thu, 01 Jan 1970 00:30:00 GMT'))
    expect(sent(jar, `${origin}/`)).toEqual(['cookie: a=1; b=2'])
    nowMs += 11_000
    expect(sent(jar, `${origin}/`)).toEqual(['cookie: b=2'])
    expect(jar.take(`${origin}/`, set('b=; Max-Age=0'))).toEqual([])
    expect(sent(jar, `${origin}/`)).toEqual([])
  })

  test('is not kept when it is malformed, too long, or Secure over http', () => {
    const jar = createCookieJar()
    const bad = ['=x', 'novalue', 'a b=1', 'a=ü', `a=${'x'.repeat(5_000)}`]
    expect(jar.take(`${origin}/`, set(...bad))).toEqual([])
    expect(jar.take('http://api.example.com/', set('a=1; Secure'))).toEqual([])
    expect(sent(jar, 'http://api.example.com/')).toEqual([])
  })
})

test('the jar holds fifty cookies, the newest', () => {
  const jar = createCookieJar()
  jar.take(`${origin}/`, set(...Array.from({ length: 60 }, (_, index) => `c${index}=1`)))
  jar.take('https://other.example.com/', set('new=1'))
  const [cookie = ''] = sent(jar, `${origin}/`)
  expect(cookie.split('; ')).toHaveLength(49)
  expect(cookie).toContain('c59=1')
  expect(sent(jar, 'https://other.example.com/')).toEqual(['cookie: new=1'])
})
