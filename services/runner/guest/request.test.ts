/** The serialiser: the OpenAPI table of styles, hostile values, every kind of body. */
import { describe, expect, test } from 'bun:test'
import { type OperationSpec, operationSchema, parameterSchema } from '@bmm/spec/server-spec'
import table from './fixtures/styles.json'
import { type OutgoingRequest, requestFrom } from './request.ts'

const randomId = () => '0123456789abcdef'

function operation(parts: Partial<OperationSpec>): OperationSpec {
  return operationSchema.parse({
    method: 'GET',
    url: 'https://api.example.com/v1/things',
    parameters: [],
    ...parts,
  })
}

function parameter(
  place: 'path' | 'query' | 'header' | 'cookie',
  name: string,
  more: Record<string, unknown> = {},
) {
  const style = place === 'query' || place === 'cookie' ? 'form' : 'simple'
  const key = name.replaceAll(/[^A-Za-z0-9_.-]/g, '_')
  return parameterSchema.parse({
    key,
    name,
    in: place,
    style,
    explode: style === 'form',
    ...more,
  })
}

function request(parts: Partial<OperationSpec>, input: Record<string, unknown>): OutgoingRequest {
  return requestFrom(operation(parts), input, randomId)
}

function bodyText(sent: OutgoingRequest): string {
  return new TextDecoder().decode(sent.body)
}

describe('every style and explode of the OpenAPI table', () => {
  for (const row of table.rows) {
    for (const kind of ['empty', 'string', 'array', 'object'] as const) {
      const wanted = row[kind]
      if (wanted === null) continue
      test(`${row.in} ${row.style} ${row.explode ? 'exploded' : 'whole'}: ${kind}`, () => {
        const { style, explode } = row
        const color = parameterSchema.parse({
          key: 'color',
          name: 'color',
          in: row.in,
          style,
          explode,
        })
        const base = 'https://api.example.com/things'
        const url = row.in === 'path' ? `${base}/{color}` : base
        const sent = request({ url, parameters: [color] }, { color: table.values[kind] })
        if (row.in === 'path') expect(sent.url).toBe(`${base}/${wanted}`)
        else if (row.in === 'query') expect(sent.url).toBe(`${base}?${wanted}`)
        else expect(sent.headers).toEqual([[row.in === 'cookie' ? 'cookie' : 'color', wanted]])
      })
    }
  }
})

describe('the address', () => {
  const url = 'https://api.example.com/v1/files/{path}'
  const path = parameter('path', 'path')

  test('keeps every value inside its segment', () => {
    const hostile = 'a/b?c=d#e&f=g%2F;h\\i\u0000 ü😀'
    const sent = request({ url, parameters: [path] }, { path: hostile })
    expect(sent.url).toBe(
      'https://api.example.com/v1/files/a%2Fb%3Fc%3Dd%23e%26f%3Dg%2F%3Bh%5Ci%00%20%C3%BC%F0%9F%98%80',
    )
    const { pathname, search, hash } = new URL(sent.url)
    expect(decodeURIComponent(pathname.split('/')[3] ?? '')).toBe(hostile.replace('%2F', '/'))
    expect([search, hash]).toEqual(['', ''])
  })

  test.each([
    '..',
    '.',
    '../admin',
    'a/../../admin',
    '..\\admin',
    '%2e%2e',
    '%2E.',
    'x%2f..%2fy',
    '%252e%252e',
  ])('refuses the climbing value %p', (value) => {
    expect(() => request({ url, parameters: [path] }, { path: value })).toThrow('path segment')
  })

  test.each([[undefined], [null], [''], [[]]])('refuses the empty value %p', (value) => {
    expect(() => request({ url, parameters: [path] }, { path: value })).toThrow('must not be empty')
  })

  test('refuses two values that only together climb', () => {
    const two = [parameter('path', 'a'), parameter('path', 'b')]
    const joined = 'https://api.example.com/x/{a}{b}/y'
    expect(() => request({ url: joined, parameters: two }, { a: '%2e', b: '%2E' })).toThrow()
    const dots = 'https://api.example.com/x/.{a}/y'
    expect(() => request({ url: dots, parameters: [two[0] ?? path] }, { a: '%2e' })).toThrow()
  })

  test('lets a value span segments where the template says so, and still not climb', () => {
    const spanning = 'https://api.example.com/v1/{+path}'
    const sent = request({ url: spanning, parameters: [path] }, { path: 'projects/a b/c?d#e' })
    expect(sent.url).toBe('https://api.example.com/v1/projects/a%20b/c%3Fd%23e')
    for (const value of ['a/../b', '..', 'a/%2e%2e/b']) {
      expect(() => request({ url: spanning, parameters: [path] }, { path: value })).toThrow()
    }
  })

  test('does not let a value become a placeholder for another one', () => {
    const parameters = [parameter('path', 'a'), parameter('path', 'b')]
    const sent = request(
      { url: 'https://api.example.com/{a}/{b}', parameters },
      { a: '{b}', b: '$&' },
    )
    expect(sent.url).toBe('https://api.example.com/%7Bb%7D/%24%26')
  })

  test('does not leave its origin', () => {
    const host = operation({ url: 'https://api.example.com{path}', parameters: [path] })
    expect(() => requestFrom(host, { path: '@evil.example' }, randomId)).toThrow()
    expect(() => requestFrom(host, { path: '.evil.example' }, randomId)).toThrow(
      'address of the API',
    )
  })

  test('keeps a query that is part of the template', () => {
    const sent = request(
      { url: 'https://api.example.com/run?op=list', parameters: [parameter('query', 'page')] },
      { page: 2 },
    )
    expect(sent.url).toBe('https://api.example.com/run?op=list&page=2')
  })

  test('refuses an address longer than servers take', () => {
    const q = parameter('query', 'q')
    expect(() => request({ parameters: [q] }, { q: 'x'.repeat(40_000) })).toThrow('characters')
  })
})

describe('the query', () => {
  test('escapes names and values, so that none opens another pair', () => {
    const q = parameter('query', 'a&b=c')
    const sent = request({ parameters: [q] }, { a_b_c: 'x&y=z+1 %' })
    expect(sent.url).toEndWith('?a%26b%3Dc=x%26y%3Dz%2B1%20%25')
    expect(new URL(sent.url).searchParams.get('a&b=c')).toBe('x&y=z+1 %')
  })

  test('passes reserved characters where the operation allows them, but no delimiter', () => {
    const q = parameter('query', 'q', { allowReserved: true })
    const sent = request({ parameters: [q] }, { q: 'https://a.b/c?d=e;f&g#h+i%20j' })
    expect(sent.url).toEndWith('?q=https://a.b/c?d=e;f%26g%23h%2Bi%20j')
  })

  test('leaves out what is absent or null, keeps false, zero and empty', () => {
    const parameters = ['a', 'b', 'c', 'd', 'e'].map((name) => parameter('query', name))
    const sent = request({ parameters }, { a: null, c: false, d: 0, e: '' })
    expect(sent.url).toEndWith('?c=false&d=0&e=')
  })

  test('writes deep objects with nested names and indices', () => {
    const filter = parameter('query', 'filter', { style: 'deepObject', explode: true })
    const sent = request(
      { parameters: [filter] },
      { filter: { a: { b: 1 }, c: ['x', { d: true }] } },
    )
    expect(decodeURIComponent(new URL(sent.url).search)).toBe(
      '?filter[a][b]=1&filter[c][0]=x&filter[c][1][d]=true',
    )
  })

  test('writes a value with a media type as JSON', () => {
    const where = parameter('query', 'where', { contentType: 'application/json' })
    const sent = request({ parameters: [where] }, { where: { a: [1, 'b&c'] } })
    expect(new URL(sent.url).searchParams.get('where')).toBe('{"a":[1,"b&c"]}')
  })
})

describe('headers and cookies', () => {
  test('put a header named Cookie and cookie parameters into one header', () => {
    const parameters = [parameter('cookie', 'sid'), parameter('header', 'Cookie')]
    const sent = request({ parameters }, { sid: '1', Cookie: 'a=b' })
    expect(sent.headers).toEqual([['cookie', 'a=b; sid=1']])
  })

  test('cannot be split by line breaks', () => {
    const sent = request(
      { parameters: [parameter('header', 'x-note'), parameter('cookie', 'sid')] },
      { 'x-note': 'a\r\nx-evil: 1', sid: 'b\r\nc; d=e' },
    )
    expect(sent.headers).toEqual([
      ['x-note', 'a%0D%0Ax-evil: 1'],
      ['cookie', 'sid=b%0D%0Ac%3B%20d%3De'],
    ])
    expect(() => new Headers(sent.headers)).not.toThrow()
  })

  test('say which answers are wanted', () => {
    expect(request({ accept: 'application/json' }, {}).headers).toEqual([
      ['accept', 'application/json'],
    ])
  })
})

describe('the body', () => {
  const json = { kind: 'json', contentType: 'application/json', required: false } as const

  test('of JSON has the wire names of fields and nested keys', () => {
    const body = {
      ...json,
      fields: [
        { key: 'a_b', name: 'a[b]' },
        { key: 'c', name: 'c' },
      ],
    }
    const renames = [
      { at: ['c', '*', 'type'], wire: '@type' },
      { at: ['c', '*', 'map', '*', 'x'], wire: '$x' },
      { at: ['c', '*', 'proto'], wire: '__proto__' },
    ]
    const sent = request(
      { method: 'POST', body, renames },
      { a_b: 1, c: [{ type: 't', map: { k: { x: 1 } }, proto: 2, rest: 3 }] },
    )
    expect(bodyText(sent)).toBe(
      '{"a[b]":1,"c":[{"@type":"t","map":{"k":{"$x":1}},"__proto__":2,"rest":3}]}',
    )
    expect(sent.headers).toEqual([['content-type', 'application/json']])
  })

  test('is left out when nothing of it is given, and empty when it is required', () => {
    const fields = [{ key: 'a', name: 'a' }]
    expect(request({ method: 'POST', body: { ...json, fields } }, {})).toEqual({
      method: 'POST',
      url: 'https://api.example.com/v1/things',
      headers: [],
    })
    expect(
      bodyText(request({ method: 'POST', body: { ...json, required: true, fields } }, {})),
    ).toBe('{}')
    const whole = { ...json, required: true, key: 'body' }
    expect(() => request({ method: 'POST', body: whole }, {})).toThrow('"body" is required')
  })

  test('under one key is sent as it is, falsy values too', () => {
    for (const value of [null, 0, false, '', [], { a: 1 }]) {
      const sent = request({ method: 'POST', body: { ...json, key: 'body' } }, { body: value })
      expect(bodyText(sent)).toBe(JSON.stringify(value))
    }
  })

  test('ignores inherited properties of the input', () => {
    const body = { ...json, fields: [{ key: 'toString', name: 'toString' }] }
    expect(request({ method: 'POST', body }, {}).body).toBeUndefined()
  })

  test('as a form is read back by the platform', () => {
    const fields = [
      { key: 'a', name: 'a b' },
      { key: 'list', name: 'list' },
      { key: 'csv', name: 'csv', style: 'form', explode: false } as const,
      { key: 'deep', name: 'deep', style: 'deepObject', explode: true } as const,
      { key: 'object', name: 'object' },
    ]
    const body = {
      kind: 'form',
      contentType: 'application/x-www-form-urlencoded',
      required: true,
      fields,
    } as const
    const sent = request(
      { method: 'POST', body: { ...body, fields } },
      { a: 'x&y=1+1', list: [1, 2], csv: ['p', 'q'], deep: { k: { l: 'v' } }, object: { m: 1 } },
    )
    expect([...new URLSearchParams(bodyText(sent))]).toEqual([
      ['a b', 'x&y=1+1'],
      ['list', '1'],
      ['list', '2'],
      ['csv', 'p,q'],
      ['deep[k][l]', 'v'],
      ['object', '{"m":1}'],
    ])
  })

  test('as multipart is read back by the platform, whatever the names hold', async () => {
    const name = 'x"\r\ncontent-type: evil\r\n\r\n'
    const body = {
      kind: 'multipart',
      contentType: 'multipart/form-data',
      required: true,
      fields: [
        { key: 'note', name },
        { key: 'meta', name: 'meta' },
        { key: 'files', name: 'files', file: true, contentType: 'image/png' },
      ],
    } as const
    const sent = request(
      { method: 'POST', body: { ...body, fields: [...body.fields] } },
      {
        note: 'n',
        meta: { a: 1 },
        files: [btoa('one\r\n--bmm'), `data:image/png;base64,${btoa('2')}`],
      },
    )
    const form = await new Response(sent.body?.slice(), { headers: sent.headers }).formData()
    expect([...form.keys()]).toEqual([
      'x%22%0D%0Acontent-type: evil%0D%0A%0D%0A',
      'meta',
      'files',
      'files',
    ])
    const files = await Promise.all(
      form.getAll('files').map((file) => (file instanceof Blob ? file.text() : 'not a file')),
    )
    expect(files).toEqual(['one\r\n--bmm', '2'])
    expect(bodyText(sent)).toContain('Content-Type: image/png')
  })

  test('names files by what their bytes are where the operation does not say', () => {
    const fields = [{ key: 'file', name: 'file', file: true }]
    const body = { kind: 'multipart', contentType: 'multipart/form-data', required: true } as const
    for (const [bytes, type, name] of [
      ['\x89PNG\r\n\x1a\n', 'image/png', 'file.png'],
      ['ID3', 'audio/mpeg', 'file.mp3'],
      ['RIFF....WAVE', 'audio/wav', 'file.wav'],
      ['?', 'application/octet-stream', 'file.bin'],
    ] as const) {
      const sent = request({ method: 'POST', body: { ...body, fields } }, { file: btoa(bytes) })
      expect(bodyText(sent)).toContain(`filename="${name}"\r\nContent-Type: ${type}\r\n`)
    }
  })

  test('as text and as bytes is sent as it is', () => {
    const text = { kind: 'text', contentType: 'text/plain', required: true, key: 'body' } as const
    const sentText = request({ method: 'PUT', body: text }, { body: 'ü' })
    expect(bodyText(sentText)).toBe('ü')
    expect(sentText.headers).toEqual([['content-type', 'text/plain; charset=utf-8']])
    const binary = { ...text, kind: 'binary', contentType: 'image/png' } as const
    expect(request({ method: 'PUT', body: binary }, { body: 'AP/+_w==' }).body).toEqual(
      new Uint8Array([0, 255, 254, 255]),
    )
    expect(() => request({ method: 'PUT', body: binary }, { body: 'no base64!' })).toThrow(
      '"body" is not valid base64.',
    )
  })
})
