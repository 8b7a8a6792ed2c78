/** HTML from templates that escape everything which is not HTML itself. */

/** Text that is HTML already; made by `html`, or from constants. */
export class Html {
  constructor(readonly text: string) {}
}

type Value = string | number | Html | readonly Html[] | undefined

/** Escapes each value; `undefined` is nothing, an `Html` stays as it is. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Html {
  return new Html(strings.reduce((text, part, index) => text + part + rendered(values[index]), ''))
}

/** Text of strangers for display: no control characters, no bidirectional tricks, not endless. */
export function displayed(text: string, limit = 120): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029]/gu, '').trim()
  return [...plain].length > limit ? `${[...plain].slice(0, limit).join('')}…` : plain
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function rendered(value: Value): string {
  if (value === undefined) return ''
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map((item: Html) => item.text).join('')
  return String(value).replace(/[&<>"']/g, (character) => escapes[character] ?? '')
}
