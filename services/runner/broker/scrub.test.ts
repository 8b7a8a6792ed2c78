import { describe, expect, test } from 'bun:test'
import { scrubber } from './scrub.ts'

const secret = 'sk-Canary/0123+4567="ü"&89ab'
const bytes = Buffer.from(secret, 'utf8')

function finds(body: string | Uint8Array, values: readonly string[] = [secret]): Promise<boolean> {
  return scrubber(values).finds({ headers: [], body: Buffer.from(body as string) })
}

const percentAll = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
const unicodeAll = [...secret]
  .map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`)
  .join('')

describe('an answer that holds the secret', () => {
  test.each([
    ['raw', secret],
    ['in the middle of text', `{"headers":{"authorization":"Bearer ${secret}"}}`],
    ['as JSON', JSON.stringify({ secret })],
    ['as JSON in JSON', JSON.stringify(JSON.stringify({ secret }))],
    ['as JSON with escaped slashes', JSON.stringify(secret).replaceAll('/', '\\/')],
    ['as unicode escapes', unicodeAll],
    [
      'as upper-case unicode escapes',
      unicodeAll.replaceAll(/[0-9a-f]{4}/g, (x) => x.toUpperCase()),
    ],
    ['per cent encoded', encodeURIComponent(secret)],
    ['per cent encoded throughout', percentAll],
    ['per cent encoded in upper case', percentAll.toUpperCase()],
    ['per cent encoded twice', encodeURIComponent(encodeURIComponent(secret))],
    ['with one character encoded', secret.replace('C', '%43')],
    ['as a form', new URLSearchParams({ secret }).toString()],
    ['as HTML', secret.replaceAll('&', '&amp;').replaceAll('"', '&quot;')],
    ['as numeric HTML', [...secret].map((each) => `&#${each.codePointAt(0)};`).join('')],
    [
      'as hexadecimal HTML',
      [...secret].map((each) => `&#x${each.codePointAt(0)?.toString(16)};`).join(''),
    ],
    ['as base64', bytes.toString('base64')],
    ['as base64url', bytes.toString('base64url')],
    ['as base64 after a user name', Buffer.from(`user:${secret}`).toString('base64')],
    ['as base64 at the third alignment', Buffer.from(`ab${secret}cd`).toString('base64')],
    ['as base64 in lines', bytes.toString('base64').replaceAll(/.{10}/g, '$&\r\n')],
    ['as base64 in JSON', JSON.stringify(bytes.toString('base64')).replaceAll('/', '\\/')],
    ['as base64 in a URL', encodeURIComponent(bytes.toString('base64'))],
    ['as hex', bytes.toString('hex')],
    ['as upper-case hex', bytes.toString('hex').toUpperCase()],
    ['as a hex dump', bytes.toString('hex').replaceAll(/../g, '$& ')],
    ['as UTF-16', Buffer.from(secret, 'utf16le')],
    ['behind binary', Buffer.concat([Buffer.from([0xff, 0xfe, 0x00]), bytes])],
  ])('%s is found', async (_how, body) => {
    expect(await finds(body)).toBe(true)
  })

  test('in a header is found', async () => {
    const headers = [['x-echo', `token ${secret}`]] as const
    const latin = [['x-echo', bytes.toString('latin1')]] as const
    const body = new Uint8Array()
    expect(await scrubber([secret]).finds({ headers, body })).toBe(true)
    expect(await scrubber([secret]).finds({ headers: latin, body })).toBe(true)
    expect(await scrubber([secret]).finds({ headers: [[secret.slice(0, 9), '']], body })).toBe(
      false,
    )
  })

  test('across the border of two slices is found', async () => {
    for (const before of [128 * 1024 - 5, 128 * 1024 + 16 * 1024 - 5, 1_000_000]) {
      expect(await finds(`${'x'.repeat(before)}${percentAll}${'y'.repeat(200_000)}`)).toBe(true)
    }
  })

  test('of several secrets any is found', async () => {
    expect(await finds('the second one', ['the first', 'second one'])).toBe(true)
  })

  test('that is long is found by any of its windows', async () => {
    const long = Array.from({ length: 400 }, (_, at) =>
      String.fromCharCode(97 + ((at * 7) % 26)),
    ).join('')
    expect(await finds(`x${long}y`, [long])).toBe(true)
    expect(await finds(Buffer.from(`x${long}y`).toString('base64'), [long])).toBe(true)
  })
})

describe('an honest answer', () => {
  test.each([
    ['empty', ''],
    ['with the start of the secret', secret.slice(0, -1)],
    ['with the end of the secret', secret.slice(1)],
    ['with another secret', 'sk-Canary/0123+4567="ü"&89ac'],
    ['in another case', secret.toUpperCase()],
    ['with pattern characters', '.*+?^$()|[]\\'],
  ])('%s passes', async (_how, body) => {
    expect(await finds(body)).toBe(false)
  })

  test('passes when the value is too short to be told from text', async () => {
    expect(await finds('demo', ['demo'])).toBe(false)
    expect(await finds('demo42', ['demo42'])).toBe(true)
  })

  test('passes when there is no value', async () => {
    expect(await finds('anything', [])).toBe(false)
  })

  test('with pattern characters in the secret is searched literally', async () => {
    expect(await finds('aaaaaaa', ['a.*+?^$'])).toBe(false)
    expect(await finds('x a.*+?^$ y', ['a.*+?^$'])).toBe(true)
  })
})

describe('the search', () => {
  test.each([
    ['backslashes', `${'\\\\\\z'.repeat(20)}`, '\\'],
    ['per cent signs', `${'%25'.repeat(20)}z`, '%25'],
    ['ampersands', `${'&;#38'.repeat(10)}z`, '&#38;&;'],
    ['quotes', `${'"\\'.repeat(30)}z`, '\\"'],
    ['slashes', `${'/+'.repeat(30)}z`, '\\/+'],
    ['unicode escapes', `${'\\u005c'.repeat(10)}z`, '\\u005c'],
    ['zeros', `${'0'.repeat(60)}z`, '&#0'],
    ['spaces', `${' +'.repeat(30)}z`, '%20+ '],
    ['line breaks', 'AAAAAAAAAAAAAAAAAAAA', 'Q\n\\n%0a'],
  ])('of an answer made of %s ends soon', async (_what, value, unit) => {
    const search = scrubber([value])
    const body = Buffer.alloc(512 * 1024, unit)
    const startedAt = performance.now()
    await search.finds({ headers: [], body })
    expect(performance.now() - startedAt).toBeLessThan(15_000)
  })
})
