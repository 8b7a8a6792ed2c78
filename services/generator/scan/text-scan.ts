/** Where in a spec a model reads text, and what is wrong with it there. */
import type { ServerSpec, ToolSpec } from '@bmm/spec/server-spec'
import { hasControlCharacters } from './control-characters.ts'
import { encodedTexts } from './encoded-text.ts'
import type { Finding } from './finding.ts'
import { hiddenUnicode } from './hidden-unicode.ts'
import { proseFault, type TextFault } from './prose.ts'

/**
 * Prose describes, a line names, a value is data that the tool takes (an enum, a default). A sample shows a value, where
 * encoded data is common; the texts of code are samples, too.
 */
export type TextKind = 'prose' | 'line' | 'value' | 'sample'
export type PlacedText = { path: string; text: string; kind: TextKind }

/** Schema keywords whose values are samples of data. */
const sampleKeywords = new Set(['example', 'examples', 'x-example', 'x-examples', 'pattern'])
const valueKeywords = new Set(['enum', 'const', 'default'])

/** The first fault of one text, or undefined. */
export function textFault(text: string, kind: TextKind): TextFault | undefined {
  const hidden = hiddenUnicode(text)
  if (hidden !== undefined) {
    return { rule: 'hidden_unicode', message: `The text has hidden characters (${hidden}).` }
  }
  if ((kind === 'prose' || kind === 'line') && hasControlCharacters(text, shapeOf(kind))) {
    const message =
      kind === 'line' ? 'It has control characters or line breaks.' : 'It has control characters.'
    return { rule: 'control_character', message }
  }
  const fault = proseFault(text)
  if (fault !== undefined) return fault
  for (const { decoded, tooLong } of encodedTexts(text)) {
    if (proseFault(decoded) !== undefined) {
      return { rule: 'encoded_text', message: 'The text hides instructions to a model in base64.' }
    }
    if (tooLong && kind !== 'sample') {
      return {
        rule: 'encoded_text',
        message: 'The text has a long base64 blob: nobody can read it.',
      }
    }
  }
  return undefined
}

/** Faults of every text of a spec but its code. */
export function* textFindings(spec: ServerSpec): Generator<Finding> {
  for (const { path, text, kind } of textsOfSpec(spec)) {
    const fault = textFault(text, kind)
    if (fault !== undefined) yield { ...fault, path }
  }
}

/** Every text of a spec that a model may read, but code, with its JSON pointer. */
function* textsOfSpec(spec: ServerSpec): Generator<PlacedText> {
  yield line('/name', spec.name)
  yield prose('/description', spec.description)
  yield prose('/instructions', spec.instructions ?? '')
  for (const [index, tool] of spec.tools.entries()) yield* textsOfTool(tool, `/tools/${index}`)
  for (const [index, credential] of spec.credentials.entries()) {
    yield prose(`/credentials/${index}/description`, credential.description)
    yield prose(`/credentials/${index}/whereToGet`, credential.whereToGet ?? '')
  }
}

function* textsOfTool(tool: ToolSpec, path: string): Generator<PlacedText> {
  yield prose(`${path}/name`, tool.name.replaceAll(/[_-]/g, ' '))
  yield line(`${path}/title`, tool.title ?? '')
  yield prose(`${path}/description`, tool.description)
  yield* textsIn(tool.inputSchema, `${path}/inputSchema`, 'prose')
  if (tool.outputSchema !== undefined) {
    yield* textsIn(tool.outputSchema, `${path}/outputSchema`, 'prose')
  }
  for (const [index, example] of tool.examples.entries()) {
    yield line(`${path}/examples/${index}/name`, example.name)
    yield* textsIn(example.input, `${path}/examples/${index}/input`, 'sample')
  }
}

/** Keys and texts of a JSON value, whatever its depth. */
function* textsIn(root: unknown, at: string, rootKind: TextKind): Generator<PlacedText> {
  const open: { value: unknown; path: string; kind: TextKind }[] = [
    { value: root, path: at, kind: rootKind },
  ]
  for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
    const { value, path, kind } = entry
    if (typeof value === 'string') yield { path, text: value, kind }
    else if (typeof value === 'object' && value !== null) {
      for (const [key, child] of Object.entries(value)) {
        const childPath = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
        if (!Array.isArray(value)) {
          yield { path: childPath, text: key, kind: kind === 'prose' ? 'line' : kind }
        }
        open.push({ value: child, path: childPath, kind: kindBelow(key, kind, child) })
      }
    }
  }
}

function kindBelow(key: string, kind: TextKind, child: unknown): TextKind {
  if (sampleKeywords.has(key)) return 'sample'
  if (kind !== 'prose') return kind
  if (valueKeywords.has(key)) return 'value'
  return key === 'title' && typeof child === 'string' ? 'line' : kind
}

function shapeOf(kind: 'prose' | 'line') {
  return kind === 'line' ? 'line' : 'text'
}

function line(path: string, text: string): PlacedText {
  return { path, text, kind: 'line' }
}

function prose(path: string, text: string): PlacedText {
  return { path, text, kind: 'prose' }
}
