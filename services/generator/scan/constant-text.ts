/** What an expression spells, as far as its parts are constant: `'ev' + 'al'`, `['a', 'b'].join('')`, character codes. */
import type { Scopes } from './scopes.ts'
import { bare, nameOf, nodeAt, nodesAt, type SyntaxNode } from './syntax-tree.ts'

const MAX_DEPTH = 24
/** Candidates kept for one expression; a body that needs more spells nothing that a person would. */
const MAX_TEXTS = 16
const MAX_TEXT = 4_000
/** Expressions looked at for one question: bounds what `a = b + b; b = c + c; …` can cost. */
const MAX_STEPS = 2_000

type Budget = { steps: number }
type Question = { scopes: Scopes; budget: Budget; depth: number }
type List = readonly string[]

/** Every text that the expression may be; empty when unknown. */
export function textsOf(node: SyntaxNode | undefined, scopes: Scopes): readonly string[] {
  return texts(node, { scopes, budget: { steps: MAX_STEPS }, depth: 0 })
}

function texts(node: SyntaxNode | undefined, question: Question): readonly string[] {
  const expression = bare(node)
  if (expression === undefined || --question.budget.steps < 0 || question.depth > MAX_DEPTH)
    return []
  const inner = { ...question, depth: question.depth + 1 }
  const found = textsOfKind(expression, inner).filter((text) => text.length <= MAX_TEXT)
  return [...new Set(found)].slice(0, MAX_TEXTS)
}

function textsOfKind(node: SyntaxNode, question: Question): readonly string[] {
  switch (node.type) {
    case 'Literal':
      return typeof node.value === 'string' || typeof node.value === 'number'
        ? [String(node.value)]
        : []
    case 'TemplateLiteral':
      return templateTexts(node, question)
    case 'BinaryExpression':
      return node.operator === '+'
        ? joined(texts(nodeAt(node, 'left'), question), texts(nodeAt(node, 'right'), question))
        : []
    case 'ConditionalExpression':
      return [
        ...texts(nodeAt(node, 'consequent'), question),
        ...texts(nodeAt(node, 'alternate'), question),
      ]
    case 'LogicalExpression':
      return [...texts(nodeAt(node, 'left'), question), ...texts(nodeAt(node, 'right'), question)]
    case 'Identifier':
      return namedTexts(nameOf(node) ?? '', question)
    case 'MemberExpression':
      return elementTexts(node, question)
    case 'CallExpression':
      return callTexts(node, question)
    default:
      return []
  }
}

function joined(left: readonly string[], right: readonly string[]): string[] {
  return left.flatMap((start) => right.map((end) => start + end)).slice(0, MAX_TEXTS)
}

function templateTexts(node: SyntaxNode, question: Question): readonly string[] {
  const quasis = nodesAt(node, 'quasis').map(cookedOf)
  return nodesAt(node, 'expressions').reduce<readonly string[]>(
    (start, expression, index) =>
      joined(joined(start, texts(expression, question)), [quasis[index + 1] ?? '']),
    [quasis[0] ?? ''],
  )
}

/** The text of a template's fixed part, escapes resolved. */
export function cookedOf(quasi: SyntaxNode): string {
  const { value } = quasi
  if (typeof value !== 'object' || value === null || !('cooked' in value)) return ''
  return typeof value.cooked === 'string' ? value.cooked : ''
}

function namedTexts(name: string, question: Question): readonly string[] {
  let found: string[] = []
  for (const { value, operator } of question.scopes.valuesOf(name)) {
    const right = texts(value, question)
    found = [...found, ...(operator === '+=' ? joined(found, right) : right)]
  }
  return found
}

/** `list[0]`, `{ a: 'x' }.a`, also by way of names. */
function elementTexts(node: SyntaxNode, question: Question): readonly string[] {
  const property = nodeAt(node, 'property')
  const keys = node.computed === true ? texts(property, question) : [nameOf(property) ?? '']
  const holder = bare(nodeAt(node, 'object'))
  const lists = listsOf(holder, question)
  const fields = holders(holder, question).flatMap((object) => nodesAt(object, 'properties'))
  return keys.flatMap((key) => [
    ...lists.flatMap((list) => list[Number(key)] ?? []),
    ...fields
      .filter((field) => (nameOf(nodeAt(field, 'key')) ?? nodeAt(field, 'key')?.value) === key)
      .flatMap((field) => texts(nodeAt(field, 'value'), question)),
  ])
}

function holders(node: SyntaxNode | undefined, question: Question): SyntaxNode[] {
  const name = nameOf(node)
  const values =
    name === undefined ? [node] : question.scopes.valuesOf(name).map((a) => bare(a.value))
  return values.flatMap((value) => (value?.type === 'ObjectExpression' ? [value] : []))
}

function callTexts(node: SyntaxNode, question: Question): readonly string[] {
  const callee = bare(nodeAt(node, 'callee'))
  const given = nodesAt(node, 'arguments')
  const decoder = nameOf(callee)
  if (decoder !== undefined)
    return texts(given[0], question).flatMap((text) => decoded(decoder, text))
  if (callee?.type !== 'MemberExpression') return []
  const method =
    nameOf(nodeAt(callee, 'property')) ?? texts(nodeAt(callee, 'property'), question)[0]
  const object = nodeAt(callee, 'object')
  if (method === undefined) return []
  if (nameOf(bare(object)) === 'String' && /^from(CharCode|CodePoint)$/.test(method)) {
    return codesAsText(listOfArguments(given, question))
  }
  if (method === 'join') {
    const separators = given.length === 0 ? [','] : texts(given[0], question)
    return listsOf(object, question).flatMap((list) => separators.map((by) => list.join(by)))
  }
  if (method === 'apply' && /fromCharCode|fromCodePoint/.test(memberName(bare(object)))) {
    return listsOf(given[1], question).flatMap(codesAsText)
  }
  if (method === 'toString' && isBufferFrom(bare(object))) {
    const source = nodesAt(bare(object) ?? node, 'arguments')
    const encoding = texts(source[1], question)[0]
    return texts(source[0], question).flatMap((text) => bufferText(text, encoding))
  }
  return methodTexts(method, texts(object, question), listOfArguments(given, question))
}

/** A text method on constant texts with constant arguments. */
function methodTexts(method: string, subjects: readonly string[], given: List): readonly string[] {
  const [first = '', second = ''] = given
  const number = (text: string) => (text === '' ? undefined : Number(text))
  return subjects.flatMap((text) => {
    switch (method) {
      case 'concat':
        return [text + given.join('')]
      case 'toLowerCase':
      case 'toLocaleLowerCase':
        return [text.toLowerCase()]
      case 'toUpperCase':
      case 'toLocaleUpperCase':
        return [text.toUpperCase()]
      case 'trim':
        return [text.trim()]
      case 'toString':
      case 'valueOf':
      case 'normalize':
        return [text]
      case 'replace':
        return [text.replace(first, second)]
      case 'replaceAll':
        return [text.replaceAll(first, second)]
      case 'slice':
        return [text.slice(number(first), number(second))]
      case 'substring':
        return [text.substring(number(first) ?? 0, number(second))]
      case 'charAt':
      case 'at':
        return [text.at(Number(first)) ?? '']
      case 'repeat':
        return Number(first) < MAX_TEXT ? [text.repeat(Math.max(0, Number(first) || 0))] : []
      default:
        return []
    }
  })
}

/** Lists of constant texts: literals, `split`, `reverse`, `Array.from`, a map of character codes. */
function listsOf(node: SyntaxNode | undefined, question: Question): readonly List[] {
  const expression = bare(node)
  if (expression === undefined || --question.budget.steps < 0 || question.depth > MAX_DEPTH)
    return []
  const inner = { ...question, depth: question.depth + 1 }
  if (expression.type === 'ArrayExpression')
    return [elements(nodesAt(expression, 'elements'), inner)]
  const name = nameOf(expression)
  if (name !== undefined) {
    return question.scopes.valuesOf(name).flatMap(({ value }) => listsOf(value, inner))
  }
  if (expression.type !== 'CallExpression') return []
  const callee = bare(nodeAt(expression, 'callee'))
  const object = callee && nodeAt(callee, 'object')
  const [first] = nodesAt(expression, 'arguments')
  switch (memberName(callee)) {
    case 'split':
      return texts(object, inner).flatMap((text) => texts(first, inner).map((by) => text.split(by)))
    case 'reverse':
    case 'toReversed':
      return listsOf(object, inner).map((list) => [...list].reverse())
    case 'from':
      return [...listsOf(first, inner), ...texts(first, inner).map((text) => [...text])]
    case 'map':
      return mapsToCharacters(first)
        ? listsOf(object, inner).map((list) => codesAsText(list)[0]?.split('') ?? [])
        : []
    default:
      return []
  }
}

function elements(nodes: readonly SyntaxNode[], question: Question): List {
  return nodes.flatMap((element) => {
    if (element.type !== 'SpreadElement') return texts(element, question)[0] ?? ''
    const spread = nodeAt(element, 'argument')
    return listsOf(spread, question)[0] ?? [...(texts(spread, question)[0] ?? '')]
  })
}

function listOfArguments(given: readonly SyntaxNode[], question: Question): List {
  return elements(given, question)
}

function mapsToCharacters(callback: SyntaxNode | undefined): boolean {
  const inner = bare(callback)
  const body = inner?.type === 'ArrowFunctionExpression' ? bare(nodeAt(inner, 'body')) : inner
  const member = body?.type === 'CallExpression' ? bare(nodeAt(body, 'callee')) : body
  return /^from(CharCode|CodePoint)$/.test(memberName(member))
}

/** The name after the dot, or empty. */
function memberName(node: SyntaxNode | undefined): string {
  return node?.type === 'MemberExpression' && node.computed !== true
    ? (nameOf(nodeAt(node, 'property')) ?? '')
    : ''
}

function isBufferFrom(node: SyntaxNode | undefined): boolean {
  return node?.type === 'CallExpression' && memberName(bare(nodeAt(node, 'callee'))) === 'from'
}

function codesAsText(codes: List): string[] {
  const numbers = codes.map(Number)
  const valid =
    numbers.length > 0 && numbers.every((n) => Number.isInteger(n) && n >= 0 && n <= 0x10ffff)
  return valid ? [String.fromCodePoint(...numbers.slice(0, MAX_TEXT))] : []
}

function decoded(decoder: string, text: string): string[] {
  try {
    switch (decoder) {
      case 'atob':
        return [atob(text)]
      case 'decodeURIComponent':
      case 'decodeURI':
      case 'unescape':
        return [decodeURIComponent(text)]
      case 'String':
        return [text]
      default:
        return []
    }
  } catch {
    return []
  }
}

function bufferText(text: string, encoding: string | undefined): string[] {
  return encoding === 'base64' || encoding === 'hex' || encoding === 'base64url'
    ? [Buffer.from(text, encoding).toString('utf8')]
    : []
}
