/** How a node is used: what stands around it, beyond type assertions and optional chains. */
import type { CodeRule } from './finding.ts'
import type { Scopes } from './scopes.ts'
import { nameOf, nodeAt, type SyntaxNode, type SyntaxTree } from './syntax-tree.ts'

/** A tool body under the rules. */
export type Body = { tree: SyntaxTree; scopes: Scopes }
export type Hit = { rule: CodeRule; node: SyntaxNode; message: string }

const comparisons = new Set(['===', '!==', '==', '!='])

/** An identifier that names a value, not a property, label or part of the syntax. */
export function isReference(node: SyntaxNode, { tree }: Body): boolean {
  const parent = tree.parentOf(node)
  const field = tree.fieldOf(node)
  switch (parent?.type) {
    case 'MemberExpression':
      return field === 'object' || parent.computed === true
    case 'Property':
    case 'PropertyDefinition':
    case 'MethodDefinition':
    case 'AccessorProperty':
      return field !== 'key' || parent.computed === true
    case 'LabeledStatement':
    case 'BreakStatement':
    case 'ContinueStatement':
      return field !== 'label'
    case 'MetaProperty':
      return false
    case 'TSEnumMember':
      return field !== 'id'
    default:
      return true
  }
}

const passThrough = new Set([
  'TSAsExpression',
  'TSSatisfiesExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'ChainExpression',
])

/** The node that uses this one, beyond type assertions and optional chains. */
export function parentOf(node: SyntaxNode, { tree }: Body): SyntaxNode | undefined {
  let parent = tree.parentOf(node)
  while (parent !== undefined && passThrough.has(parent.type)) parent = tree.parentOf(parent)
  return parent
}

export function outerField(node: SyntaxNode, { tree }: Body): string {
  let child = node
  let parent = tree.parentOf(node)
  while (parent !== undefined && passThrough.has(parent.type)) {
    child = parent
    parent = tree.parentOf(parent)
  }
  return tree.fieldOf(child)
}

export function memberOf(node: SyntaxNode | undefined): string {
  return node?.type === 'MemberExpression' && node.computed !== true
    ? (nameOf(nodeAt(node, 'property')) ?? '')
    : ''
}

export function isCompared(node: SyntaxNode | undefined): boolean {
  return node?.type === 'BinaryExpression' && comparisons.has(String(node.operator))
}

export function isTypeof(node: SyntaxNode | undefined): boolean {
  return node?.type === 'UnaryExpression' && node.operator === 'typeof'
}
