/** The syntax tree of one tool body: parsed in its wrapper, checked to be one function, indexed with parents. */
import { parseSync } from 'oxc-parser'

/** An ESTree node; its fields are read through the functions below. */
export type SyntaxNode = {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [field: string]: unknown
}

export type SyntaxTree = {
  /** Every node that stays when types are stripped, parents first. */
  nodes: readonly SyntaxNode[]
  parentOf(node: SyntaxNode): SyntaxNode | undefined
  /** The field of its parent that holds the node. */
  fieldOf(node: SyntaxNode): string
  /** Line of the node in the tool body, from 1. */
  lineOf(node: SyntaxNode): number
}

export type ParsedBody =
  | { ok: true; tree: SyntaxTree }
  | { ok: false; rule: 'unreadable_code' | 'not_one_function'; message: string }

/** What stands around a tool body; the newline before the end keeps a trailing comment from eating it. */
export const BODY_PREFIX = '(async (input, ctx) => {\n'
export const BODY_SUFFIX = '\n})'

/** Nodes that start with `TS` and still are code after types are stripped. */
const codeOfTypeScript = new Set([
  'TSAsExpression',
  'TSSatisfiesExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'TSParameterProperty',
  'TSEnumDeclaration',
  'TSEnumBody',
  'TSEnumMember',
  'TSModuleDeclaration',
  'TSModuleBlock',
  'TSImportEqualsDeclaration',
  'TSExternalModuleReference',
  'TSExportAssignment',
])

/** Parses a body. Runs native code on hostile text: call it in a disposable child, after the nesting was counted. */
export function parseBody(body: string): ParsedBody {
  const source = BODY_PREFIX + body + BODY_SUFFIX
  const { program, errors } = parseSync('tool.ts', source, {
    lang: 'ts',
    sourceType: 'module',
    preserveParens: false,
    showSemanticErrors: true,
  })
  const fault = errors[0]
  if (fault !== undefined) {
    const place = placeIn(body, source, fault.labels[0]?.start ?? 0)
    return {
      ok: false,
      rule: 'unreadable_code',
      message: `The code does not parse: ${place}: ${fault.message}`,
    }
  }
  const root = program as unknown as SyntaxNode
  if (!isOneFunction(root, source)) {
    return {
      ok: false,
      rule: 'not_one_function',
      message:
        'The code closes its own function. A tool body is the inside of one function: balance its braces.',
    }
  }
  return { ok: true, tree: indexTree(root, source) }
}

/** What is missing at the end of a body is missed in the wrapper, on a line that the person does not have. */
function placeIn(body: string, source: string, offset: number): string {
  const code = body.trimEnd()
  if (offset < BODY_PREFIX.length + code.length) return `line ${lineFinder(source)(offset)}`
  return `line ${code.split('\n').length}, where the code ends`
}

/** Whether wrapping yielded exactly one async function that spans the wrapper: pasted text may declare nothing else. */
function isOneFunction(root: SyntaxNode, source: string): boolean {
  const [statement, ...others] = nodesAt(root, 'body')
  const arrow = statement && nodeAt(statement, 'expression')
  const block = arrow && nodeAt(arrow, 'body')
  return (
    others.length === 0 &&
    statement?.type === 'ExpressionStatement' &&
    arrow?.type === 'ArrowFunctionExpression' &&
    arrow.async === true &&
    arrow.start === 1 &&
    arrow.end === source.length - 1 &&
    block?.type === 'BlockStatement' &&
    block.start === BODY_PREFIX.length - 2 &&
    block.end === source.length - 1 &&
    nodesAt(arrow, 'params').length === 2
  )
}

function indexTree(root: SyntaxNode, source: string): SyntaxTree {
  const nodes: SyntaxNode[] = []
  const places = new Map<SyntaxNode, { parent: SyntaxNode; field: string }>()
  const lines = lineFinder(source)
  const open = [root]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    nodes.push(node)
    const children: SyntaxNode[] = []
    for (const [field, value] of Object.entries(node)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (!isNode(child) || isErased(child)) continue
        places.set(child, { parent: node, field })
        children.push(child)
      }
    }
    open.push(...children.reverse())
  }
  return {
    nodes,
    parentOf: (node) => places.get(node)?.parent,
    fieldOf: (node) => places.get(node)?.field ?? '',
    lineOf: (node) => lines(node.start),
  }
}

function isErased(node: SyntaxNode): boolean {
  return node.type.startsWith('TS') && !codeOfTypeScript.has(node.type)
}

/** Lines of the body by offset in the source; the wrapper's first line is not the person's. */
function lineFinder(source: string): (offset: number) => number {
  const ends: number[] = []
  for (let at = source.indexOf('\n'); at !== -1; at = source.indexOf('\n', at + 1)) ends.push(at)
  return (offset) => {
    let low = 0
    let high = ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ends[middle] ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return Math.max(1, low)
  }
}

function isNode(value: unknown): value is SyntaxNode {
  return (
    typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
  )
}

export function nodeAt(node: SyntaxNode, field: string): SyntaxNode | undefined {
  const value = node[field]
  return isNode(value) ? value : undefined
}

export function nodesAt(node: SyntaxNode, field: string): SyntaxNode[] {
  const value = node[field]
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** The name of an identifier, else undefined. */
export function nameOf(node: SyntaxNode | undefined): string | undefined {
  return node?.type === 'Identifier' && typeof node.name === 'string' ? node.name : undefined
}

const wrappers = new Set([
  'TSAsExpression',
  'TSSatisfiesExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'ParenthesizedExpression',
  'ChainExpression',
  'AwaitExpression',
])

/** The expression without what does not change its value: type assertions, brackets, `a, b`, `x = b`. */
export function bare(node: SyntaxNode | undefined): SyntaxNode | undefined {
  let inner = node
  while (inner !== undefined) {
    if (wrappers.has(inner.type)) {
      inner = nodeAt(inner, inner.type === 'AwaitExpression' ? 'argument' : 'expression')
    } else if (inner.type === 'SequenceExpression') inner = nodesAt(inner, 'expressions').at(-1)
    else if (inner.type === 'AssignmentExpression' && inner.operator === '=') {
      inner = nodeAt(inner, 'right')
    } else return inner
  }
  return inner
}
