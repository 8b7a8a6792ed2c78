/** Texts that speak to the model instead of describing a tool. */
import type { TextRule } from './finding.ts'
import { foldedPatterns, writtenPatterns } from './prose-patterns.ts'

export type TextFault = { rule: TextRule; message: string }

/** A plain ASCII text without any of these matches no pattern. One by one, since one large alternation takes three times as long. */
const triggers = [
  'ignor|regard|forget|overr|overw|rule|bypass|discard|neglect|follow|prompt|you\\W+are|sys',
  'olvida|oublie|vergiss|missachte|negeer|vergeet|dimentica|esque|zapomnij|abaikan|desestima|desconsidere',
  '(?:tell|telling|let|mention|mentioning|hide|keep|conceal|reveal|disclose|show|say|admit|explain|private|secret|hidden|this|that|it)\\b.{0,40}\\b(?:user|human|person|them)',
  '(?:user|human|person|them)s?\\W+(?:must|should|may)\\W+(?:not|never)',
  'mention|admit|explain|secretly|covertly|discreetly|without\\W+anyone',
  'this[\\W_]*(?:tool|function|server)|other[\\W_]*(?:tool|function|mcp)',
  'your\\b.{0,40}\\b(?:conversation|chat|message)|context\\W+window|conversation\\W+(?:so|with)|messages\\W+of',
  '(?:variables|keys|passwords|secrets|tokens)\\W+(?:that|which|you|of\\W+this|on\\W+this|from)',
  '<\\||<!--|</?[a-z_-]+>|\\[inst|(?:system|developer|human|assistant|user)\\]?\\s*:',
  '\\.aws|\\.ssh|\\.env|\\.kube|\\.pgpass|\\.git-|\\.n\\w+rc|id_(?:rsa|ed|ecdsa)|/etc/(?:pass|shadow|hosts)|~/|/home/|/users/|/root/|home\\}|mcp\\.json|config\\.json',
  '(?:\\b\\w ){5}',
].map((source) => new RegExp(source, 'i'))
const harmless = (text: string) =>
  !/[^\t-~]/.test(text) && !triggers.some((trigger) => trigger.test(text))

/** What of a text speaks to the model; undefined when nothing does. */
export function proseFault(text: string): TextFault | undefined {
  if (harmless(text)) return undefined
  const readings = readingsOf(text)
  const found =
    foldedPatterns.find(({ pattern }) => readings.some((reading) => pattern.test(reading))) ??
    writtenPatterns.find(({ pattern }) => pattern.test(text))
  return found === undefined ? undefined : { rule: found.rule, message: found.message }
}

const disguised = /[аеорсухіѕԁɡոοανιı]/u
/** Letters of other alphabets that pass for Latin ones. */
const lookalikes = new Map(
  Object.entries({
    а: 'a',
    е: 'e',
    о: 'o',
    р: 'p',
    с: 'c',
    у: 'y',
    х: 'x',
    і: 'i',
    ѕ: 's',
    ԁ: 'd',
    ɡ: 'g',
    ո: 'n',
    ο: 'o',
    α: 'a',
    ν: 'v',
    ι: 'i',
    ı: 'i',
  }),
)

/**
 * The text as a reader takes it in: no invisible characters, no punctuation, camel case taken apart, and without letters in
 * disguise, once within words that are Latin otherwise, and once throughout.
 */
export function readingsOf(text: string): string[] {
  const plain = text
    .normalize('NFKD')
    .replace(/[\p{Cf}\p{M}\u{115f}\u{1160}\u{3164}]/gu, '')
    .replace(/(\p{Ll})(?=\p{Lu}\p{Ll})/gu, '$1 ')
    .toLowerCase()
    .replace(/['’]/g, '')
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
  if (!disguised.test(plain)) return [joined(plain)]
  const within = plain.replace(/\S*[a-z]\S*/g, undisguised)
  const throughout = /[a-z]/.test(plain) ? undisguised(plain) : plain
  return [...new Set([joined(within), joined(throughout)])]
}

function undisguised(text: string): string {
  return text.replace(/[аеорсухіѕԁɡոοανιı]/gu, (letter) => lookalikes.get(letter) ?? letter)
}

/** "i g n o r e" reads as a word; two spaces or more between words are lost by then, so all is joined. */
function joined(words: string): string {
  return words.replace(/\b(?:\p{L} ){5,}\p{L}\b/gu, (run) => spacedOut(run))
}

/** Spaced-out letters, cut again into the few words that the patterns know. */
function spacedOut(run: string): string {
  return run
    .replaceAll(' ', '')
    .replace(
      /ignore|disregard|forget|override|all|any|previous|prior|above|your|the|instructions?|system|prompt/g,
      ' $& ',
    )
    .replace(/ +/g, ' ')
    .trim()
}
