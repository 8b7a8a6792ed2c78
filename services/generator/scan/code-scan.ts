/** The scan of one tool body: parsed alone, checked to be one function, then held against every rule. */
import { codeHits } from './code-rules.ts'
import { cookedOf, textsOf } from './constant-text.ts'
import type { CodeRule } from './finding.ts'
import { MAX_CODE_NESTING, nestingOf } from './nesting.ts'
import { scopesOf } from './scopes.ts'
import { parseBody, type SyntaxNode, type SyntaxTree } from './syntax-tree.ts'

const MAX_HITS = 20

export type CodeFault = { rule: CodeRule; message: string }

export type ScannedCode = {
  faults: CodeFault[]
  /** Every text that the code spells, for the scan of texts. */
  texts: { text: string; line: number }[]
}

/** Runs native code on hostile text: call it in a disposable child. */
export function scanCode(body: string): ScannedCode {
  if (nestingOf(body) > MAX_CODE_NESTING) {
    const message = `The code nests brackets more than ${MAX_CODE_NESTING} deep.`
    return { faults: [{ rule: 'unreadable_code', message }], texts: [] }
  }
  const parsed = parseBody(body)
  if (!parsed.ok) return { faults: [{ rule: parsed.rule, message: parsed.message }], texts: [] }
  const { tree } = parsed
  const scopes = scopesOf(tree)
  const seen = new Set<string>()
  const faults: CodeFault[] = []
  for (const { rule, node, message } of codeHits(tree, scopes)) {
    const line = tree.lineOf(node)
    if (seen.has(`${rule} ${line}`) || faults.length >= MAX_HITS) continue
    seen.add(`${rule} ${line}`)
    faults.push({ rule, message: `Line ${line}: ${message}` })
  }
  const texts = tree.nodes.flatMap((node) =>
    spelled(node, tree, (of) => textsOf(of, scopes)).map((text) => ({
      text,
      line: tree.lineOf(node),
    })),
  )
  return { faults, texts }
}

/** Literals, fixed parts of templates, and what concatenations come to as a whole. */
function spelled(
  node: SyntaxNode,
  tree: SyntaxTree,
  fold: (node: SyntaxNode) => readonly string[],
): readonly string[] {
  if (node.type === 'Literal') return typeof node.value === 'string' ? [node.value] : []
  if (node.type === 'TemplateElement') return [cookedOf(node)]
  const isOutermost = tree.parentOf(node)?.type !== 'BinaryExpression'
  return node.type === 'BinaryExpression' && isOutermost ? fold(node) : []
}
