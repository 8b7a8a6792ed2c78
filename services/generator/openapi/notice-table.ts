/** The one table of what the importer tells a person: its sentences are read from its own source, so that none is missing. */
import { readdirSync, readFileSync } from 'node:fs'
import { parseSync } from 'oxc-parser'
import { isObject, type JsonObject, listAt, own, textAt } from './json.ts'

type NoticeKind = 'warning' | 'operation left out' | 'document refused'
type NoticeRow = { kind: NoticeKind; when: string; words: string }
/** A place that says something whose words, or whose time, cannot be read from it. */
type Unread = { file: string; code: string }
type Saying = { kind: NoticeKind; node: JsonObject }

const kinds: readonly NoticeKind[] = ['warning', 'operation left out', 'document refused']

/** When each file speaks. A file that speaks and is missing here is unread. */
const occasions: Readonly<Record<string, string | undefined>> = {
  '../draft/document-source.ts': 'The platform fetches the document from its address.',
  '../draft/drafting.ts': 'A finished draft is scanned and kept.',
  '../draft/schema-check.ts': 'A spec written by hand is checked.',
  '../draft/spec-consistency.ts': 'A finished tool is held against what its server may call.',
  'body.ts': 'A request body is read.',
  'credentials.ts': 'Credentials are shared out among operations.',
  'document-text.ts': 'The bytes of a file are decoded.',
  'document.ts': 'The text of a document is parsed.',
  'draft.ts': 'Operations are chosen and drafted.',
  'filter.ts': 'The filters of an import are read.',
  'import-document.ts': 'The import runs in its child process.',
  'negotiation.ts': 'Accept or Content-Type is a parameter.',
  'notices.ts': 'More than 500 different warnings were found.',
  'operation-list.ts': 'The paths of a document are read.',
  'parameter.ts': 'Parameters are read.',
  'reference.ts': 'A `$ref` is followed.',
  'security.ts': 'The `security` of an operation is read.',
  'server-url.ts': 'The address of the API is worked out.',
  'signature.ts': 'The API wants signed requests.',
  'tool.ts': 'An operation becomes a tool.',
  'whole-body.ts': 'A request body is read.',
}
const errors: Readonly<Record<string, NoticeKind | undefined>> = {
  Refused: 'operation left out',
  ReferenceFault: 'operation left out',
  ImportError: 'document refused',
}
/** Functions that make a fault or a warning, and which of their arguments is the sentence. */
const functions: Readonly<Record<string, { kind: NoticeKind; sentence: number } | undefined>> = {
  notOpenApi: { kind: 'document refused', sentence: 0 },
  nothing: { kind: 'document refused', sentence: 0 },
  unreadable: { kind: 'document refused', sentence: 0 },
  failed: { kind: 'document refused', sentence: 0 },
  bad: { kind: 'document refused', sentence: 0 },
  invalid: { kind: 'document refused', sentence: 1 },
  limited: { kind: 'document refused', sentence: 1 },
  warn: { kind: 'warning', sentence: 1 },
  warning: { kind: 'warning', sentence: 1 },
}
/** Lists of what is told. */
const lists: Readonly<Record<string, NoticeKind | undefined>> = {
  refusals: 'operation left out',
  sentences: 'operation left out',
  notes: 'operation left out',
  told: 'warning',
  found: 'warning',
}
/** Functions and variables that hold a sentence which others say. */
const holders: Readonly<Record<string, NoticeKind | undefined>> = {
  foreignSentence: 'document refused',
  undefinedSentence: 'operation left out',
  relativeSentence: 'operation left out',
  operationFault: 'operation left out',
  fault: 'operation left out',
}
/** Words that were made, and are read, in another place. */
const passedOn =
  /^(?:message|fault|error\.message|answer\.fault|\w+Sentence(?:\(.*\))?|\[\.\.\.new Set\(sentences\)\]\.join\(' '\)|`\$\{message\}\$\{place\}`)$/s

/** Every sentence: warnings first, then what is left out, then what refuses the whole document. */
export function noticeTable(): { rows: NoticeRow[]; unread: Unread[] } {
  const rows = new Map<string, NoticeRow>()
  const unread: Unread[] = []
  for (const file of sourceFiles()) {
    const source = readFileSync(`${import.meta.dirname}/${file}`, 'utf8')
    const root: unknown = parseSync(file, source).program
    const known = literalsOf(root)
    for (const { kind, node } of sayingsIn(root)) {
      const words = sentencesIn(node, known)
      const when = occasions[file]
      const code = source.slice(Number(node.start), Number(node.end))
      if (words.length === 0 ? !passedOn.test(code) : when === undefined)
        unread.push({ file, code })
      for (const each of words) {
        rows.set(`${kind} ${each}`, { kind, words: each, when: when ?? '' })
      }
    }
  }
  return { rows: [...rows.values()].sort(inOrder), unread }
}

/** The table for the README. */
export function noticeTableMarkdown(): string {
  const lines = noticeTable().rows.map(
    ({ kind, when, words }) => `| ${kind} | ${when} | ${words.replaceAll('|', '\\|')} |`,
  )
  return ['| A person sees | When | In these words |', '| --- | --- | --- |', ...lines].join('\n')
}

function inOrder(one: NoticeRow, other: NoticeRow): number {
  return (
    kinds.indexOf(one.kind) - kinds.indexOf(other.kind) ||
    one.when.localeCompare(other.when, 'en') ||
    one.words.localeCompare(other.words, 'en')
  )
}

function sourceFiles(): string[] {
  const own = readdirSync(import.meta.dirname).filter(
    (file) => file.endsWith('.ts') && !/\.test\.ts$|^(?:notice|mapping)-table|^testing/.test(file),
  )
  return [...own, ...Object.keys(occasions).filter((file) => file.startsWith('../'))]
}

function sayingsIn(root: unknown): Saying[] {
  const found: Saying[] = []
  visit(root, (node) => {
    const saying = sayingOf(node)
    if (saying !== undefined) found.push(saying)
    return true
  })
  return found
}

function sayingOf(node: JsonObject): Saying | undefined {
  const given = listAt(node, 'arguments')
  if (node.type === 'NewExpression') return saying(errors[nameAt(node, 'callee')], given[0])
  if (node.type === 'CallExpression') return calledSaying(node, given)
  if (node.type === 'FunctionDeclaration') return heldSaying(nameAt(node, 'id'), returned(node))
  if (node.type === 'VariableDeclarator') return heldSaying(nameAt(node, 'id'), own(node, 'init'))
  if (node.type === 'AssignmentExpression') {
    return heldSaying(nameAt(node, 'left'), own(node, 'right'))
  }
  return undefined
}

/** `nothing('…', path)`, `notices.warn(path, '…')`, `refusals.push({ message: '…' })`. */
function calledSaying(node: JsonObject, given: readonly unknown[]): Saying | undefined {
  const callee = own(node, 'callee')
  if (!isObject(callee)) return undefined
  const name = textAt(callee, 'name') ?? nameAt(callee, 'property')
  if (name === 'push') {
    const [told] = given
    // A call among them makes a warning, and is seen by itself.
    const isMade = isObject(told) && told.type === 'CallExpression'
    return isMade ? undefined : saying(lists[nameAt(callee, 'object')], told)
  }
  const maker = nameAt(callee, 'object') === 'log' ? undefined : functions[name]
  return saying(maker?.kind, given[maker?.sentence ?? 0])
}

/** What a function answers, as one node. */
function returned(node: JsonObject): JsonObject {
  const answers: JsonObject[] = []
  visit(node, (each) => {
    if (each.type === 'ReturnStatement') answers.push(each)
    return true
  })
  return { type: 'Returned', answers }
}

/** What holds no words is no place that says something: those who say it are looked at. */
function heldSaying(name: string, value: unknown): Saying | undefined {
  const held = saying(holders[name], value)
  return held !== undefined && sentencesIn(held.node, new Map()).length > 0 ? held : undefined
}

function saying(kind: NoticeKind | undefined, value: unknown): Saying | undefined {
  if (kind === undefined || !isObject(value)) return undefined
  const fields = listAt(value, 'properties').filter(isObject)
  const message = fields.find((field) => nameAt(field, 'key') === 'message')
  const said = message === undefined ? value : own(message, 'value')
  // Lists of these names elsewhere hold other things.
  if (value.type === 'ObjectExpression' && message === undefined) return undefined
  return isObject(said) && !['Identifier', 'SpreadElement'].includes(String(said.type))
    ? { kind, node: said }
    : undefined
}

/** Literals that are sentences; what is filled in is shown as `…`, and is not looked into. */
function sentencesIn(node: JsonObject, known: ReadonlyMap<string, string>): string[] {
  const found: string[] = []
  visit(node, (each) => {
    const text = textOf(each, known)
    if (text === undefined) return true
    const words = text.replaceAll(/\s+/g, ' ').replaceAll(/…+/g, '…').trim()
    if (/^[A-Z"…].*\s.*[.:…]$/.test(words)) found.push(words)
    return false
  })
  return found
}

function textOf(node: JsonObject, known: ReadonlyMap<string, string>): string | undefined {
  if (node.type === 'Literal') return textAt(node, 'value')
  if (node.type !== 'TemplateLiteral') return undefined
  const filled = listAt(node, 'expressions').map((each) =>
    isObject(each) ? (known.get(textAt(each, 'name') ?? '') ?? '…') : '…',
  )
  const parts = listAt(node, 'quasis').map((quasi) => {
    const value = isObject(quasi) ? own(quasi, 'value') : undefined
    return isObject(value) ? (textAt(value, 'cooked') ?? '') : ''
  })
  return parts.map((part, index) => `${part}${filled[index] ?? ''}`).join('')
}

/** Named texts and numbers of a file, such as its limits. */
function literalsOf(root: unknown): Map<string, string> {
  const known = new Map<string, string>()
  visit(root, (node) => {
    if (node.type !== 'VariableDeclaration' || node.kind !== 'const') return true
    for (const declared of listAt(node, 'declarations').filter(isObject)) {
      const value = own(declared, 'init')
      const literal = isObject(value) && value.type === 'Literal' ? value.value : undefined
      const name = nameAt(declared, 'id')
      if (typeof literal === 'string') known.set(name, literal)
      if (typeof literal === 'number') known.set(name, literal.toLocaleString('en'))
    }
    return true
  })
  return known
}

function nameAt(node: JsonObject, key: string): string {
  const named = own(node, key)
  return isObject(named) ? (textAt(named, 'name') ?? '') : ''
}

/** Shows each node of a syntax tree; those within it are left out when the answer is no. */
function visit(value: unknown, isWithin: (node: JsonObject) => boolean): void {
  if (Array.isArray(value)) for (const each of value) visit(each, isWithin)
  if (!isObject(value)) return
  if (typeof value.type === 'string' && !isWithin(value)) return
  for (const field of Object.values(value)) if (typeof field === 'object') visit(field, isWithin)
}
