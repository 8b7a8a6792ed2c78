/** Which names a tool body declares itself, so that a rule about `process` spares a person's own `process`. */
import { nameOf, nodeAt, nodesAt, type SyntaxNode, type SyntaxTree } from './syntax-tree.ts'

export type Scopes = {
  /** Whether this identifier refers to a declaration in the body; else it is a global. */
  isLocal(identifier: SyntaxNode): boolean
  /** Everything that is ever assigned to that name, in source order. Scopes are ignored: more is found, never less. */
  valuesOf(name: string): readonly Assigned[]
}

export type Assigned = { value: SyntaxNode; operator: '=' | '+=' }

const functions = new Set(['ArrowFunctionExpression', 'FunctionExpression', 'FunctionDeclaration'])
const scopeTypes = new Set([
  ...functions,
  'Program',
  'BlockStatement',
  'StaticBlock',
  'ForStatement',
  'ForInStatement',
  'ForOfStatement',
  'SwitchStatement',
  'CatchClause',
  'ClassDeclaration',
  'ClassExpression',
])

export function scopesOf(tree: SyntaxTree): Scopes {
  const declared = new Map<SyntaxNode, Set<string>>()
  const assigned = new Map<string, Assigned[]>()
  const declare = (scope: SyntaxNode | undefined, pattern: SyntaxNode | undefined) => {
    if (scope === undefined || pattern === undefined) return
    const names = declared.get(scope) ?? new Set()
    declared.set(scope, names)
    for (const name of namesIn(pattern)) names.add(name)
  }
  const assign = (target: SyntaxNode | undefined, value: unknown, operator: '=' | '+=') => {
    const name = nameOf(target)
    if (name === undefined || typeof value !== 'object' || value === null) return
    const values = assigned.get(name) ?? []
    assigned.set(name, values)
    values.push({ value: value as SyntaxNode, operator })
  }

  for (const node of tree.nodes) {
    if (functions.has(node.type)) {
      for (const parameter of nodesAt(node, 'params')) declare(node, parameter)
    }
    if (node.type === 'VariableDeclaration' && node.declare !== true) {
      const scope = node.kind === 'var' ? bodyAround(tree, node) : scopeAround(tree, node)
      for (const declarator of nodesAt(node, 'declarations')) {
        declare(scope, nodeAt(declarator, 'id'))
        assign(nodeAt(declarator, 'id'), declarator.init, '=')
      }
    } else if (isNamedDeclaration(node)) {
      declare(scopeAround(tree, node), nodeAt(node, 'id'))
      assign(nodeAt(node, 'id'), node, '=')
    }
    if (node.type === 'FunctionExpression' || node.type === 'ClassExpression') {
      declare(node, nodeAt(node, 'id'))
    } else if (node.type === 'CatchClause') declare(node, nodeAt(node, 'param'))
    else if (node.type === 'AssignmentPattern') assign(nodeAt(node, 'left'), node.right, '=')
    else if (node.type === 'AssignmentExpression') {
      const operator = node.operator === '+=' ? '+=' : '='
      assign(nodeAt(node, 'left'), node.right, operator)
    }
  }
  return {
    isLocal(identifier) {
      const name = nameOf(identifier) ?? ''
      for (const scope of scopesAround(tree, identifier)) {
        if (declared.get(scope)?.has(name)) return true
      }
      return false
    },
    valuesOf: (name) => assigned.get(name) ?? [],
  }
}

/** `declare` and overload signatures vanish with the types: they declare nothing. */
function isNamedDeclaration(node: SyntaxNode): boolean {
  return (
    (node.type === 'FunctionDeclaration' ||
      node.type === 'ClassDeclaration' ||
      node.type === 'TSEnumDeclaration') &&
    node.declare !== true
  )
}

function* scopesAround(tree: SyntaxTree, node: SyntaxNode): Generator<SyntaxNode> {
  let child = node
  for (let parent = tree.parentOf(node); parent !== undefined; parent = tree.parentOf(child)) {
    // What a switch looks at stands outside the scope of its cases.
    const outside = parent.type === 'SwitchStatement' && tree.fieldOf(child) === 'discriminant'
    if (scopeTypes.has(parent.type) && !outside) yield parent
    child = parent
  }
}

function scopeAround(tree: SyntaxTree, node: SyntaxNode): SyntaxNode | undefined {
  return scopesAround(tree, node).next().value ?? undefined
}

/** Where a `var` lives: the body of a function, which its parameters' defaults do not see. */
function bodyAround(tree: SyntaxTree, node: SyntaxNode): SyntaxNode | undefined {
  for (const scope of scopesAround(tree, node)) {
    const parent = tree.parentOf(scope)
    const isBody =
      parent !== undefined && functions.has(parent.type) && tree.fieldOf(scope) === 'body'
    if (isBody || scope.type === 'StaticBlock' || scope.type === 'Program') return scope
  }
  return undefined
}

function namesIn(pattern: SyntaxNode): string[] {
  const name = nameOf(pattern)
  if (name !== undefined) return [name]
  const inner: (SyntaxNode | undefined)[] = []
  if (pattern.type === 'ObjectPattern') {
    inner.push(
      ...nodesAt(pattern, 'properties').map((p) => nodeAt(p, 'value') ?? nodeAt(p, 'argument')),
    )
  } else if (pattern.type === 'ArrayPattern') inner.push(...nodesAt(pattern, 'elements'))
  else if (pattern.type === 'AssignmentPattern') inner.push(nodeAt(pattern, 'left'))
  else if (pattern.type === 'RestElement') inner.push(nodeAt(pattern, 'argument'))
  else if (pattern.type === 'TSParameterProperty') inner.push(nodeAt(pattern, 'parameter'))
  return inner.flatMap((child) => (child === undefined ? [] : namesIn(child)))
}
