/** Text of a document as a model may read it: plain, short, without hidden characters. */

/** Zero-width, bidirectional and tag characters, soft hyphens, variation selectors: text that people cannot see. */
const hidden = /[\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB]/gu
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
const control = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]/g
const lineTag = /<\/?(?:p|br|div|li|ul|ol|tr|table|h[1-6])\b[^<>]{0,200}>/gi
const inlineTag =
  /<\/?(?:a|b|i|u|em|strong|code|pre|span|tt|sup|sub|font|td|th|tbody|thead|img|small|note|important|blockquote|section|details|summary)\b[^<>]{0,500}>|<!--[^<>]{0,500}-->/gi

/** Trimmed to `limit` characters at the end of a sentence or word. */
export function prose(text: string, limit: number): string {
  const head = text.length > limit * 8 ? text.slice(0, limit * 8) : text
  const plain = head
    .toWellFormed()
    .replace(hidden, '')
    .replace(control, ' ')
    .replace(lineTag, '\n')
    .replace(inlineTag, '')
    .replace(/[ \t\r]+/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
  return shortened(plain, limit)
}

/** As it is but for what people cannot see: for samples, whose tags belong to them. */
export function verbatim(text: string, limit: number): string {
  const head = text
    .slice(0, limit * 2)
    .toWellFormed()
    .replace(hidden, '')
    .replace(control, ' ')
  return head.length <= limit ? head : `${head.slice(0, limit - 1).toWellFormed()}…`
}

/** On one line, for titles and names. */
export function line(text: string, limit: number): string {
  return shortened(prose(text, limit * 2).replace(/\s+/g, ' '), limit)
}

export function hasHidden(text: string): boolean {
  hidden.lastIndex = 0
  return hidden.test(text)
}

function shortened(text: string, limit: number): string {
  if (text.length <= limit) return text
  const cut = text.slice(0, limit - 1)
  const sentence = Math.max(cut.lastIndexOf('. '), cut.lastIndexOf('.\n'))
  if (sentence > limit / 2) return cut.slice(0, sentence + 1)
  const space = cut.lastIndexOf(' ')
  return `${(space > limit / 2 ? cut.slice(0, space) : cut).toWellFormed().replace(/\uFFFD$/, '')}…`
}
