/** Bytes of answers as text: every charset that the web knows, wherever it is declared, and what is no text. */
import { describe, expect, test } from 'bun:test'
import { answerText } from './answer-text.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)
const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0))
const text = (body: Uint8Array, contentType: string) => {
  const mimeType = contentType.split(';', 1)[0]?.trim()
  return answerText(body, contentType, mimeType === '' ? undefined : mimeType)
}

describe('a charset', () => {
  test.each([
    ['gbk', '价格 100 元', 'bcdbb8f12031303020d4aa'],
    ['GB18030', '𠀀', '95328236'],
    ['big5', '價格', 'bbf9aee6'],
    ['Shift_JIS', '名前,価格', '96bc914f2c89bf8a69'],
    ['cp932', '名前', '96bc914f'],
    ['euc-jp', '名前', 'ccbec1b0'],
    ['iso-2022-jp', '名前', '1b24424c3e41301b2842'],
    ['EUC-KR', '가격', 'b0a1b0dd'],
    ['ks_c_5601-1987', '가격', 'b0a1b0dd'],
    ['windows-1250', 'Žluťoučký', '8e6c759d6f75e86bfd'],
    ['windows-1251', 'Привет', 'cff0e8e2e5f2'],
    ['windows-1253', 'Τιμή', 'd4e9ecde'],
    ['windows-1254', 'Işık', '49fefd6b'],
    ['windows-1255', 'שלום', 'f9ece5ed'],
    ['windows-1256', 'سعر', 'd3dad1'],
    ['ISO-8859-1', 'é', 'e9'],
    ['ISO-8859-2', 'Łódź', 'a3f364bc'],
    ['ISO-8859-5', 'Цена', 'c6d5ddd0'],
    ['ISO-8859-7', 'Τιμή', 'd4e9ecde'],
    ['ISO-8859-15', '10 €', '313020a4'],
    ['koi8-r', 'Цена', 'e3c5cec1'],
    ['tis-620', 'ราคา', 'c3d2a4d2'],
    ['utf-16le', 'π', 'c003'],
    ['utf-16be', 'π', '03c0'],
    ['utf-16', 'ab', '00610062'],
  ])('%s in the header is read, quoted or not', (charset, wanted, hex) => {
    const body = Uint8Array.fromHex(hex)
    for (const type of ['text/plain', 'application/json', 'application/vnd.example.own']) {
      expect(text(body, `${type}; charset=${charset}`)).toEqual({ text: wanted })
      expect(text(body, `${type};Charset="${charset}"`)).toEqual({ text: wanted })
    }
  })

  test('is shown by a byte order mark, whatever the header says', () => {
    const mark = (hex: string) => Uint8Array.fromHex(hex)
    expect(text(mark('efbbbf7b7d'), 'application/json; charset=iso-8859-1')).toEqual({ text: '{}' })
    expect(text(mark('fffe7b007d00'), 'application/json')).toEqual({ text: '{}' })
    expect(text(mark('feff007b007d'), '')).toEqual({ text: '{}' })
    expect(text(mark('007b007d'), 'application/json')).toEqual({ text: '{}' })
  })

  test('is declared by XML and HTML themselves, and the header wins', () => {
    const xml = latin1('<?xml version="1.0" encoding="windows-1251"?><a>\xcf</a>')
    expect(text(xml, 'application/atom+xml')?.text).toContain('<a>П</a>')
    expect(text(xml, 'text/xml; charset=iso-8859-1')?.text).toContain('<a>Ï</a>')
    const html = latin1('<html><head><meta charset="gbk"></head>\xbc\xdb</html>')
    expect(text(html, 'text/html')?.text).toContain('价</html>')
    const old = latin1(
      '<META http-equiv=Content-Type content="text/html; charset=shift_jis"><p>\x96\xbc\x91O',
    )
    expect(text(old, 'text/html')?.text).toContain('名前')
    expect(text(utf8('<meta charset="utf-16">é'), 'text/html')?.text).toContain('é')
  })

  test('that is not known, or not there for letters of old, is said', () => {
    expect(text(utf8('é'), 'text/plain; charset=klingon')).toEqual({
      text: 'é',
      note: '(The charset "klingon" is not known here: read as UTF-8.)',
    })
    expect(text(latin1('caf\xe9'), 'text/csv')).toEqual({
      text: 'café',
      note: '(No charset is declared, and the text is no UTF-8: read as windows-1252.)',
    })
  })
})

describe('text', () => {
  test('is what reads as text, of whatever type', () => {
    for (const type of ['', 'application/vnd.example.diff', 'application/octet-stream', 'x/y']) {
      expect(text(utf8('--- a\n+++ ü\n'), type)).toEqual({ text: '--- a\n+++ ü\n' })
    }
    expect(text(utf8('<svg/>'), 'image/svg+xml')).toEqual({ text: '<svg/>' })
  })

  test('is not what holds control characters, or of a type that has no text', () => {
    const bytes = new Uint8Array([0, 1, 2, 255])
    for (const type of ['', 'application/vnd.example.diff', 'application/octet-stream']) {
      expect(text(bytes, type)).toBeUndefined()
      expect(text(latin1('caf\xe9'), type)).toBeUndefined()
    }
    expect(text(bytes, 'text/plain')).toBeUndefined()
    expect(text(bytes, 'application/x; charset=utf-8')).toBeUndefined()
    for (const type of ['application/pdf', 'image/png', 'font/woff2', 'video/mp4']) {
      expect(text(utf8('%PDF-1.4'), type)).toBeUndefined()
    }
  })
})
