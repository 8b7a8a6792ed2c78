/** Texts that speak to the model instead of describing a tool. */
import type { TextRule } from './finding.ts'

export type TextFault = { rule: TextRule; message: string }

/** Words that may stand between the verb and what is to be ignored: none of them belongs to an API's own nouns. */
const between =
  '(?:(?:all|any|every|each|the|these|those|this|that|of|your|you|my|our|other|and|or|everything|in|from|is|are|were|was|have|been|given|to) ){0,6}'
const past = '(?:previous|prior|preceding|earlier|above|former|foregoing|safety|developer)'
const earlier = `(?:${past}|existing|original|initial|system|security|current)`
const orders =
  '(?:instructions?|prompts?|directions?|directives?|guidelines?|guardrails?|system messages?|commands)'
const ignore =
  '(?:ignore|disregard|forget|discard|neglect|do not follow|dont follow|don t follow|stop following)'
/** What one also does to settings: only with orders that came before. */
const override = '(?:override|overrule|overwrite|bypass)'
const drop = `(?:${ignore}|${override})`

type Pattern = { rule: TextRule; pattern: RegExp; message: string }

const ignoring = 'This text tells a model to ignore its instructions.'
const overriding = 'This text poses as a system prompt.'

/** Matched against folded text: lower case, one space between words, no punctuation. */
const patterns: readonly Pattern[] = [
  {
    rule: 'ignore_instructions',
    pattern: new RegExp(
      `\\b${ignore} ${between}${earlier} (?:(?:${earlier}|and|or) )*${between}${orders}\\b`,
    ),
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern: new RegExp(
      `\\b${override} ${between}${past} (?:(?:${earlier}|and|or) )*${between}${orders}\\b`,
    ),
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern: new RegExp(
      `\\b${drop} ${between}(?:your|you were given|you have been given) (?:${earlier} )?(?:instructions?|prompts?|guidelines?|guardrails?|training|rules|programming)\\b`,
    ),
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern: new RegExp(
      `\\b${drop} (?:all|everything|anything) (?:of )?(?:the )?(?:instructions|prompts|you (?:were|have been) (?:told|taught|instructed)|(?:written |said |stated )?(?:above|before) (?:this|and instead|and do))\\b`,
    ),
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern: new RegExp(
      `\\b${drop} ${between}(?:instructions?|prompts?) ${between}(?:above|before this|so far|previously given|you received)\\b`,
    ),
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern:
      /\b(?:ignoriere?|vergiss|missachte) (?:bitte )?(?:alle |die |deine |jegliche )*(?:vorherigen|bisherigen|vorigen|obigen|fruheren) (?:anweisungen|befehle|instruktionen|vorgaben)\b/,
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern:
      /\b(?:ignore[sz]?|oublie[sz]?) (?:toutes? )?(?:les |tes |vos )?(?:instructions|consignes) (?:precedentes|anterieures|ci dessus)\b/,
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern:
      /\b(?:ignora|ignore|olvida) (?:todas )?(?:las |tus )?(?:instrucciones|indicaciones) (?:anteriores|previas)\b/,
    message: ignoring,
  },
  {
    rule: 'ignore_instructions',
    pattern:
      /(?:忽略|无视|忘记)(?:之前|以上|先前|前面|上述)?(?:的)?(?:所有|全部|一切)?(?:之前|以上|先前|前面|上述)?(?:的)?(?:指令|指示|提示词)/,
    message: ignoring,
  },
  {
    rule: 'prompt_override',
    pattern: /\bsystem ?prompt (?:override|overwrite|injection)\b/,
    message: overriding,
  },
  {
    rule: 'prompt_override',
    pattern:
      /\b(?:override|overwrite|replace) (?:the |your |my )(?:current |existing |original )?system ?prompt (?:with|by|and|now)\b/,
    message: overriding,
  },
  {
    rule: 'prompt_override',
    pattern:
      /\b(?:reveal|print|repeat|output|disclose|leak|show me|tell me|exfiltrate) (?:me )?(?:your|the entire|the full|the whole) (?:system ?prompt|hidden instructions|initial instructions|system instructions)\b/,
    message: 'This text asks a model for its system prompt.',
  },
  {
    rule: 'prompt_override',
    pattern:
      /\byou are (?:now|no longer) (?:in )?(?:developer mode|dan|jailbroken|unrestricted|bound by|an? (?:unrestricted|uncensored|evil|jailbroken))\b/,
    message: 'This text changes what a model takes itself for.',
  },
  {
    rule: 'prompt_override',
    pattern:
      /\b(?:do not|dont|don t|never) (?:mention|reveal|disclose|tell|show) (?:this|these|any of this|it|that) (?:instructions? |step |call |fact )?to the (?:user|human)\b/,
    message: 'This text asks a model to keep something from the person.',
  },
]

/** Marks of chat formats, matched against the text as it is. */
const rawPatterns: readonly Pattern[] = [
  {
    rule: 'prompt_override',
    pattern: /<\|(?:im_start|start_header_id)\|>\s*(?:system|developer)/i,
    message: overriding,
  },
  { rule: 'prompt_override', pattern: /<<SYS>>/, message: overriding },
  {
    rule: 'prompt_override',
    pattern: /^\s*#{2,}\s*system\s*(?:prompt|message|override)\s*:?\s*#*\s*$/im,
    message: overriding,
  },
]

/** Most texts are plain ASCII without a single word of the patterns: they cost one look. */
const harmless = (text: string) =>
  !/[^\t-~]/.test(text) &&
  !/ignor|regard|forget|overr|overw|rule|bypass|discard|neglect|follow|prompt|you are|olvida|oublie|vergiss|missachte|user|human|sys|<\||(?:\b\w ){5}/i.test(
    text,
  )

/** What of a text speaks to the model; undefined when nothing does. */
export function proseFault(text: string): TextFault | undefined {
  if (harmless(text)) return undefined
  const folded = fold(text)
  const found =
    patterns.find(({ pattern }) => pattern.test(folded)) ??
    rawPatterns.find(({ pattern }) => pattern.test(text))
  return found === undefined ? undefined : { rule: found.rule, message: found.message }
}

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

/** The text as a reader takes it in: no invisible characters, no letters in disguise, no punctuation. */
function fold(text: string): string {
  const plain = text
    .normalize('NFKD')
    .replace(/[\p{Cf}\p{Mn}\u{115f}\u{1160}\u{3164}]/gu, '')
    .toLowerCase()
  const disguised = /[a-z]/.test(plain)
    ? plain.replace(/[аеорсухіѕԁɡոοανιı]/gu, (c) => lookalikes.get(c) ?? c)
    : plain
  const words = disguised
    .replace(/['’]/g, '')
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
  // "i g n o r e" reads as a word; two spaces or more between words are lost by then, so all is joined.
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
