/** Built-ins belong to every tool of a sandbox: the rules that keep a body from changing them. */
import { type Body, type Hit, isCompared, outerField, parentOf } from './placement.ts'
import { bare, nameOf, nodeAt, nodesAt, type SyntaxNode } from './syntax-tree.ts'

/** Assignment to, or deletion of, something that this body does not own. */
export function changeHits(node: SyntaxNode, target: SyntaxNode | undefined, body: Body): Hit[] {
  return placesIn(target).flatMap((place): Hit[] => {
    const name = rootGlobal(place, body, nameOf(place) !== undefined)
    if (name === undefined) return []
    const message = `${name} is not declared in this tool: it cannot be changed.`
    return [{ rule: 'prototype', node, message }]
  })
}

/** What an assignment writes to, patterns taken apart. */
function placesIn(target: SyntaxNode | undefined): SyntaxNode[] {
  const place = bare(target)
  switch (place?.type) {
    case 'VariableDeclaration':
      return []
    case 'ArrayPattern':
      return nodesAt(place, 'elements').flatMap(placesIn)
    case 'ObjectPattern':
      return nodesAt(place, 'properties').flatMap((property) =>
        placesIn(nodeAt(property, 'value') ?? nodeAt(property, 'argument')),
      )
    case 'AssignmentPattern':
      return placesIn(nodeAt(place, 'left'))
    case 'RestElement':
      return placesIn(nodeAt(place, 'argument'))
    default:
      return place === undefined ? [] : [place]
  }
}

/** The global at the root of `a.b.c`, also by way of `const a = Object`; undefined when the root is the body's own. */
export function rootGlobal(
  node: SyntaxNode | undefined,
  body: Body,
  isTarget = false,
): string | undefined {
  let root = bare(node)
  while (root?.type === 'MemberExpression') root = bare(nodeAt(root, 'object'))
  const name = nameOf(root)
  if (root === undefined || name === undefined) return undefined
  if (!body.scopes.isLocal(root)) return name
  if (isTarget) return undefined
  for (const { value } of body.scopes.valuesOf(name)) {
    const aliased = bare(value)
    const alias = nameOf(aliased)
    if (
      aliased !== undefined &&
      alias !== undefined &&
      alias !== 'undefined' &&
      !body.scopes.isLocal(aliased)
    ) {
      return alias
    }
  }
  return undefined
}

/** The prototype of a built-in may be read for its methods, never handed on. */
export function prototypeHits(node: SyntaxNode, body: Body): Hit[] {
  const parent = parentOf(node, body)
  if (rootGlobal(nodeAt(node, 'object'), body) === undefined) return []
  const isRead =
    parent?.type === 'MemberExpression' &&
    outerField(node, body) === 'object' &&
    parent.computed !== true
  return isRead || isCompared(parent)
    ? []
    : [{ rule: 'prototype', node, message: 'The prototype of a built-in belongs to every tool.' }]
}
