import { describe, expect, test } from 'bun:test'
import { documentText } from './document-text.ts'

const text = '{"openapi":"3.0.3","info":{"title":"Größe"}}'
const latin = (value: string) => Uint8Array.from(Buffer.from(value, 'latin1'))
const utf16 = (value: string) => Uint8Array.from(Buffer.from(value, 'utf16le'))
const swapped = (bytes: Uint8Array) => Uint8Array.from(Buffer.from(bytes).swap16())

describe('the encoding', () => {
  test.each([
    ['UTF-8', new TextEncoder().encode(text), 'utf-8'],
    ['UTF-8 with a mark', new TextEncoder().encode(`\uFEFF${text}`), 'utf-8'],
    ['UTF-16 of either order with a mark', utf16(`\uFEFF${text}`), 'utf-16le'],
    ['big-endian UTF-16 with a mark', swapped(utf16(`\uFEFF${text}`)), 'utf-16be'],
    ['UTF-16 without a mark', utf16(text), 'utf-16le'],
    ['big-endian UTF-16 without a mark', swapped(utf16(text)), 'utf-16be'],
    ['Latin-1', latin(text), 'windows-1252'],
  ] as const)('%s is read', (_name, bytes, encoding) => {
    expect(documentText(bytes)).toEqual({ text, encoding })
  })

  test('of Western European text has its typographic signs', () => {
    const bytes = Uint8Array.from([...latin('a: caf\xe9 '), 0x93, 0x78, 0x94, ...latin(' \x80 5')])
    expect(documentText(bytes).text).toBe('a: café “x” € 5')
  })

  test.each([
    ['GBK', [0xb6, 0xa9, 0xb5, 0xa5, 0xc1, 0xd0, 0xb1, 0xed]],
    ['Windows-1251', [0xd6, 0xe5, 0xed, 0xe0, 0x20, 0xf2]],
    ['Polish ISO 8859-2', [0x77, 0xb1, 0x73, 0x6b, 0x69]],
    ['an archive', [0x80, 0x00, 0x1f]],
  ])('%s is refused with the place', (_name, bytes) => {
    const all = Uint8Array.from([...latin('openapi: 3.0.3\ntitle: '), ...bytes])
    expect(() => documentText(all)).toThrow(
      /not UTF-8 text: the first other byte is in line 2, column [89]\./,
    )
  })

  test('of UTF-32 is named', () => {
    expect(() => documentText(Uint8Array.from([0xff, 0xfe, 0, 0, 0x7b, 0, 0, 0]))).toThrow('UTF-32')
    expect(() => documentText(Uint8Array.from([0, 0, 0xfe, 0xff, 0, 0, 0, 0x7b]))).toThrow('UTF-32')
  })

  test('of UTF-16 that is cut off is named', () => {
    expect(() => documentText(utf16(`\uFEFF${text}`).subarray(0, -1))).toThrow('cut off')
  })
})
