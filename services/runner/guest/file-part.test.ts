/** Files as a model gives them: their names and media types in the request. */
import { describe, expect, test } from 'bun:test'
import { type OperationSpec, operationSchema } from '@bmm/spec/server-spec'
import { type OutgoingRequest, requestFrom } from './request.ts'

function request(parts: Partial<OperationSpec>, input: Record<string, unknown>): OutgoingRequest {
  const operation = { method: 'GET', url: 'https://api.example.com/v1', parameters: [], ...parts }
  return requestFrom(operationSchema.parse(operation), input, () => '0123456789abcdef')
}

function bodyText(sent: OutgoingRequest): string {
  return new TextDecoder().decode(sent.body)
}

describe('an upload', () => {
  test('of a file has the name and type that the model gives, or that fit it', () => {
    const body = { kind: 'multipart', contentType: 'multipart/form-data', required: true } as const
    const png = btoa('\x89PNG\r\n\x1a\n')
    const a = btoa('a,b')
    for (const [allowed, file, filename, type] of [
      [undefined, { name: 'sales.csv', type: 'text/csv', data: a }, 'sales.csv', 'text/csv'],
      [undefined, { name: 'sales.csv', data: a }, 'sales.csv', 'text/csv'],
      [undefined, { type: 'text/csv', data: a }, 'file.csv', 'text/csv'],
      [undefined, `data:text/csv;base64,${a}`, 'file.csv', 'text/csv'],
      [undefined, 'data:text/csv,a%2Cb', 'file.csv', 'text/csv'],
      [undefined, { name: 'x.bin', data: `data:text/csv;base64,${a}` }, 'x.bin', 'text/csv'],
      ['image/gif, image/png', png, 'file.png', 'image/png'],
      ['image/gif, image/*', png, 'file.png', 'image/png'],
      ['application/json, text/csv', { name: 'y.csv', data: a }, 'y.csv', 'text/csv'],
      ['image/gif, image/png', a, 'file.gif', 'image/gif'],
      ['image/*', a, 'file.bin', 'application/octet-stream'],
      [undefined, { name: 'q"\r\nX: 1', data: a }, 'q%22%0D%0AX: 1', 'application/octet-stream'],
    ] as const) {
      const fields = [{ key: 'file', name: 'file', file: true, contentType: allowed }]
      const sent = request({ method: 'POST', body: { ...body, fields } }, { file })
      expect(bodyText(sent)).toContain(`filename="${filename}"\r\nContent-Type: ${type}\r\n`)
    }
    const binary = {
      kind: 'binary',
      contentType: 'image/gif, image/png',
      required: true,
      key: 'body',
    } as const
    const typeOf = (value: unknown) =>
      request({ method: 'PUT', body: binary }, { body: value }).headers[0]?.[1]
    expect(typeOf(png)).toBe('image/png')
    expect(typeOf({ type: 'image/webp', data: png })).toBe('image/webp')
    expect(typeOf(a)).toBe('image/gif')
  })

  test.each([
    [7, 'must be base64 text, or an object'],
    [{ name: 'a' }, 'must have "data"'],
    [{ name: '', data: '' }, 'The "name" of "file" must be 1 to 255 characters'],
    [{ type: 'csv', data: '' }, 'must be a media type'],
    [{ type: 'text/csv\r\nX: 1', data: '' }, 'must be a media type'],
    ['data:text/csv,%zz', 'wrong escape'],
    [{ data: '?' }, 'not valid base64'],
  ])('of the file %j is refused with a sentence', (file, sentence) => {
    const fields = [{ key: 'file', name: 'file', file: true }]
    const body = { kind: 'multipart', contentType: 'multipart/form-data', required: true } as const
    expect(() => request({ method: 'POST', body: { ...body, fields } }, { file })).toThrow(sentence)
  })
})
