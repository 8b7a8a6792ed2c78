/** Characters that people do not see and models read: bidi controls, zero-width characters, tags. */

const names: readonly [RegExp, string][] = [
  [/[\u202a-\u202e\u2066-\u2069]/u, 'bidirectional control'],
  [/[\u{e0000}-\u{e007f}]/u, 'tag'],
  [/[\u{e0100}-\u{e01ef}]|[\ufe00-\ufe0f]{3}/u, 'variation selector'],
  [/[\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\u{1d173}-\u{1d17a}]/u, 'zero-width'],
  [/[\u200c\u200d]/u, 'joiner'],
]
/** Joiners that shape what is seen: emoji sequences, and letters of scripts that need them. */
const joiningScripts = [
  'Arabic',
  'Devanagari',
  'Bengali',
  'Gurmukhi',
  'Gujarati',
  'Oriya',
  'Tamil',
  'Telugu',
  'Kannada',
  'Malayalam',
  'Sinhala',
  'Khmer',
  'Mongolian',
  'Tibetan',
  'Myanmar',
]
const joiningLetter = joiningScripts.map((script) => `\\p{Script=${script}}`).join('')
const visibleJoiners = new RegExp(
  '(?<=\\p{Extended_Pictographic}|\\p{Emoji_Modifier}|\\ufe0f)\\u200d(?=\\p{Extended_Pictographic})' +
    `|(?<=[${joiningLetter}\\p{Mn}])[\\u200c\\u200d]`,
  'gu',
)
/** Flags of regions: a black flag, tag letters, the end tag. */
const flags = /\u{1f3f4}[\u{e0061}-\u{e007a}\u{e0030}-\u{e0039}]{2,6}\u{e007f}/gu

/** What kind of hidden character the text has, or undefined. */
export function hiddenUnicode(text: string): string | undefined {
  if (isPlain(text)) return undefined
  const seen = text.replace(flags, '').replace(visibleJoiners, '')
  return names.find(([pattern]) => pattern.test(seen))?.[1]
}

/** The text without hidden characters; what shapes visible ones stays. */
export function withoutHiddenUnicode(text: string): string {
  if (isPlain(text) || hiddenUnicode(text) === undefined) return text
  const kept: string[] = []
  const marked = text
    .replace(/\u{f0000}/gu, '')
    .replace(flags, keep)
    .replace(visibleJoiners, keep)
  const clean = marked.replace(
    /[\u200b-\u200d\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e01ef}]|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+/gu,
    '',
  )
  let index = 0
  return clean.replace(/\u{f0000}/gu, () => kept[index++] ?? '')

  function keep(match: string): string {
    kept.push(match)
    return '\u{f0000}'
  }
}

/** Most texts have nothing above U+2000. */
function isPlain(text: string): boolean {
  return !/[\u200b-\u{10ffff}]/u.test(text)
}
