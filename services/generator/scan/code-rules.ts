/** What the code of a tool may not do, node by node. The sandbox is the wall; this names the attempt. */
import {
  bannedCalls,
  bannedGlobals,
  bannedMembers,
  globalObjects,
  harmlessReflection,
  hiddenWords,
  splitWords,
  timers,
  unsupported,
} from './banned-names.ts'
import { changeHits, prototypeHits, rootGlobal } from './built-ins.ts'
import { textsOf } from './constant-text.ts'
import type { CodeRule } from './finding.ts'
import {
  type Body,
  type Hit,
  isCompared,
  isReference,
  isTypeof,
  memberOf,
  outerField,
  parentOf,
} from './placement.ts'
import type { Scopes } from './scopes.ts'
import { bare, nameOf, nodeAt, nodesAt, type SyntaxNode, type SyntaxTree } from './syntax-tree.ts'

/** Every hit in a body, in source order. */
export function codeHits(tree: SyntaxTree, scopes: Scopes): Hit[] {
  const body = { tree, scopes }
  return tree.nodes.flatMap((node) => hitsOf(node, body))
}

function hitsOf(node: SyntaxNode, body: Body): Hit[] {
  const refused = unsupported.get(node.type)
  if (refused !== undefined) return [{ rule: 'unsupported_syntax', node, message: refused }]
  switch (node.type) {
    case 'Identifier':
      return identifierHits(node, body)
    case 'MemberExpression':
      return memberHits(node, body)
    case 'Property':
      return keyHits(node, body)
    case 'ImportExpression':
      return [{ rule: 'dynamic_import', node, message: 'A tool cannot import modules.' }]
    case 'MetaProperty':
      return nameOf(nodeAt(node, 'meta')) === 'import'
        ? [{ rule: 'dynamic_import', node, message: 'import.meta is not there.' }]
        : []
    case 'CallExpression':
    case 'NewExpression':
      return [...callHits(node, body), ...hiddenTextHits(node, hiddenWords, body)]
    case 'AssignmentExpression':
    case 'ForInStatement':
    case 'ForOfStatement':
      return changeHits(node, nodeAt(node, 'left'), body)
    case 'UpdateExpression':
      return changeHits(node, nodeAt(node, 'argument'), body)
    case 'UnaryExpression':
      return node.operator === 'delete' ? changeHits(node, nodeAt(node, 'argument'), body) : []
    case 'BinaryExpression':
      return hiddenTextHits(node, splitWords, body)
    case 'TemplateLiteral':
      return nodesAt(node, 'expressions').length > 0 ? hiddenTextHits(node, splitWords, body) : []
    case 'Literal':
      return wordHits(node, body)
    default:
      return []
  }
}

/** A reference to a global by its name. */
function identifierHits(node: SyntaxNode, body: Body): Hit[] {
  const name = nameOf(node) ?? ''
  if (!isReference(node, body) || body.scopes.isLocal(node)) return []
  return globalHits(name, node, body)
}

/** The use of a global, written as `name` or as `globalThis.name`. */
function globalHits(name: string, node: SyntaxNode, body: Body): Hit[] {
  const parent = parentOf(node, body)
  const field = outerField(node, body)
  const banned = bannedGlobals.get(name)
  if (banned !== undefined) {
    const isTypeTest =
      parent?.type === 'BinaryExpression' && parent.operator === 'instanceof' && field === 'right'
    return isTypeTest || isTypeof(parent) ? [] : [hit(banned, node)]
  }
  const isBase =
    parent?.type === 'MemberExpression' && field === 'object' && parent.computed !== true
  if (globalObjects.has(name) && !isBase && !isTypeof(parent)) {
    return [
      {
        rule: 'global_object',
        node,
        message: `${name} may only be used as ${name}.name, with a plain name.`,
      },
    ]
  }
  if (name === 'Reflect' && !(isBase && harmlessReflection.has(memberOf(parent)))) {
    return [{ rule: 'reflect', node, message: 'Reflect gets around what the code says it does.' }]
  }
  if (timers.has(name)) return timerHits(name, node, parent, field, body)
  return []
}

function timerHits(
  name: string,
  node: SyntaxNode,
  parent: SyntaxNode | undefined,
  field: string,
  body: Body,
): Hit[] {
  if (isTypeof(parent)) return []
  const called = parent?.type === 'CallExpression' && field === 'callee'
  if (!called) {
    return [{ rule: 'string_timer', node, message: `Call ${name} directly, with a function.` }]
  }
  const first = bare(nodesAt(parent, 'arguments')[0])
  const isText =
    first?.type === 'SpreadElement' ||
    first?.type === 'TemplateLiteral' ||
    textsOf(first, body.scopes).length > 0 ||
    isConcatenation(first)
  return isText
    ? [
        {
          rule: 'string_timer',
          node,
          message: `${name} with text runs text as code. Give it a function.`,
        },
      ]
    : []
}

function isConcatenation(node: SyntaxNode | undefined): boolean {
  return node?.type === 'BinaryExpression' && node.operator === '+'
}

function memberHits(node: SyntaxNode, body: Body): Hit[] {
  const object = bare(nodeAt(node, 'object'))
  const globalObject = object !== undefined && isGlobalObject(object, body)
  if (node.computed !== true) {
    const name = memberOf(node)
    const asGlobal = globalObject ? globalHits(name, node, body) : []
    return [...memberNameHits(name, node, body), ...asGlobal]
  }
  // Computed access on the global object itself is refused with its identifier.
  const names = textsOf(nodeAt(node, 'property'), body.scopes)
  if (names.length > 0 || !isCode(object, body)) {
    return names.flatMap((name) => memberNameHits(name, node, body))
  }
  const message = 'A computed name on a function or built-in hides what is reached.'
  return [{ rule: 'computed_call', node, message }]
}

const functionTypes = new Set([
  'ArrowFunctionExpression',
  'FunctionExpression',
  'FunctionDeclaration',
])
/** Built-ins whose members are plain functions and numbers. */
const harmlessTables = new Set(['Math', 'console'])

/** A function or a built-in: what its computed members may be includes the way to Function. */
function isCode(node: SyntaxNode | undefined, body: Body): boolean {
  if (node === undefined) return false
  if (functionTypes.has(node.type)) return true
  const name = nameOf(node)
  if (name === undefined) return false
  if (!body.scopes.isLocal(node)) return !harmlessTables.has(name)
  return body.scopes.valuesOf(name).some(({ value }) => functionTypes.has(bare(value)?.type ?? ''))
}

/** `globalThis`, `globalThis.globalThis` and so on. */
function isGlobalObject(node: SyntaxNode, body: Body): boolean {
  const name = nameOf(node)
  if (name !== undefined) return globalObjects.has(name) && !body.scopes.isLocal(node)
  const object = node.type === 'MemberExpression' ? bare(nodeAt(node, 'object')) : undefined
  return object !== undefined && globalObjects.has(memberOf(node)) && isGlobalObject(object, body)
}

function memberNameHits(name: string, node: SyntaxNode, body: Body): Hit[] {
  const parent = parentOf(node, body)
  const field = outerField(node, body)
  const banned = bannedMembers.get(name)
  if (banned !== undefined) return [hit(banned, node)]
  const called = field === 'callee' || parent?.type === 'TaggedTemplateExpression'
  const bannedCall = called ? bannedCalls.get(name) : undefined
  if (bannedCall !== undefined) return [hit(bannedCall, node)]
  if (name === 'constructor') {
    const isName =
      parent?.type === 'MemberExpression' && field === 'object' && memberOf(parent) === 'name'
    return isName || isCompared(parent)
      ? []
      : [
          {
            rule: 'constructor_access',
            node,
            message:
              '.constructor leads to Function. Only comparing it, or reading its name, is allowed.',
          },
        ]
  }
  if (name === 'getPrototypeOf') {
    const call = called ? parent : undefined
    return call !== undefined && isCompared(parentOf(call, body))
      ? []
      : [
          {
            rule: 'prototype',
            node,
            message: 'getPrototypeOf may only be called to compare its result.',
          },
        ]
  }
  if (name === 'prototype') return prototypeHits(node, body)
  return []
}

/** Keys of patterns and object literals. */
function keyHits(node: SyntaxNode, body: Body): Hit[] {
  const key = nodeAt(node, 'key')
  const names =
    node.computed === true
      ? textsOf(key, body.scopes)
      : [nameOf(key) ?? (typeof key?.value === 'string' ? key.value : '')]
  const inPattern = body.tree.parentOf(node)?.type === 'ObjectPattern'
  return names.flatMap((name): Hit[] => {
    if (name === '__proto__') {
      return [{ rule: 'prototype', node, message: '__proto__ sets the prototype of the object.' }]
    }
    if (!inPattern) return []
    if (name === 'constructor') {
      return [{ rule: 'constructor_access', node, message: 'constructor leads to Function.' }]
    }
    if (name === 'prototype' || name === 'getPrototypeOf') {
      return [{ rule: 'prototype', node, message: `${name} reaches into the prototype chain.` }]
    }
    const banned = bannedMembers.get(name)
    return banned === undefined ? [] : [hit(banned, node)]
  })
}

function callHits(node: SyntaxNode, body: Body): Hit[] {
  const callee = bare(nodeAt(node, 'callee'))
  const inner = callee?.type === 'CallExpression' ? bare(nodeAt(callee, 'callee')) : undefined
  if (inner !== undefined && isUnknownKey(inner, body)) {
    const message = 'Calling at once what a computed name gave hides what is called.'
    return [{ rule: 'computed_call', node, message }]
  }
  if (callee?.type !== 'MemberExpression') return []
  const hits: Hit[] = []
  const object = bare(nodeAt(callee, 'object'))
  if (isUnknownKey(callee, body) && object !== undefined && isUnknownKey(object, body)) {
    hits.push({
      rule: 'computed_call',
      node,
      message: 'A call through two computed names in a row hides what is called.',
    })
  }
  const changes = ['assign', 'defineProperty', 'defineProperties'].includes(memberOf(callee))
  const target = changes ? bare(nodesAt(node, 'arguments')[0]) : undefined
  if (target !== undefined && rootGlobal(target, body) !== undefined) {
    hits.push({
      rule: 'prototype',
      node,
      message: 'Built-ins belong to every tool: leave them as they are.',
    })
  }
  return hits
}

/** `x[k]` where nothing is known about `k`; a number cannot name a method. */
function isUnknownKey(node: SyntaxNode, body: Body): boolean {
  return (
    node.type === 'MemberExpression' &&
    node.computed === true &&
    textsOf(nodeAt(node, 'property'), body.scopes).length === 0
  )
}

/** `'ev' + 'al'`: a banned word that was taken apart, whatever it is used for. */
function hiddenTextHits(node: SyntaxNode, words: ReadonlySet<string>, body: Body): Hit[] {
  const word = textsOf(node, body.scopes).find((text) => words.has(text))
  return word === undefined
    ? []
    : [{ rule: ruleOfWord(word), node, message: `This spells "${word}" in pieces.` }]
}

/** A bare `'constructor'` or `'__proto__'` that is handed on; guards against them compare. */
function wordHits(node: SyntaxNode, body: Body): Hit[] {
  if (node.value !== 'constructor' && node.value !== '__proto__') return []
  const parent = parentOf(node, body)
  const handedOn =
    (parent?.type === 'CallExpression' || parent?.type === 'NewExpression') &&
    outerField(node, body) === 'arguments' &&
    !isGuard(bare(nodeAt(parent, 'callee')))
  return handedOn
    ? [
        {
          rule: ruleOfWord(node.value),
          node,
          message: `"${node.value}" is handed on as a property name.`,
        },
      ]
    : []
}
const guards = new Set([
  'hasOwn',
  'hasOwnProperty',
  'includes',
  'has',
  'indexOf',
  'startsWith',
  'endsWith',
  'add',
  'push',
])

/** `x.includes(…)`, `Object.hasOwn(…)`, `Object.prototype.hasOwnProperty.call(…)`: these only ask. */
function isGuard(callee: SyntaxNode | undefined): boolean {
  const name = memberOf(callee)
  return guards.has(name) || (name === 'call' && isGuard(bare(callee && nodeAt(callee, 'object'))))
}

function ruleOfWord(word: string): CodeRule {
  if (word === 'constructor') return 'constructor_access'
  if (word === 'Reflect') return 'reflect'
  if (word === 'getPrototypeOf') return 'prototype'
  return bannedGlobals.get(word)?.[0] ?? bannedMembers.get(word)?.[0] ?? 'global_object'
}

function hit([rule, message]: [CodeRule, string], node: SyntaxNode): Hit {
  return { rule, node, message }
}
