/** The one scan of a spec, used wherever a spec enters or moves on: at draft, build and later at edit, publish and fork. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { scanCode } from './code-scan.ts'
import { hasControlCharacters } from './control-characters.ts'
import type { Finding } from './finding.ts'
import { hiddenUnicode } from './hidden-unicode.ts'
import { textFault, textFindings } from './text-scan.ts'

const MAX_FINDINGS = 100

/**
 * Everything that the rules find, code first; at most 100 findings. Runs native code on hostile text when a tool has
 * code: call it in a disposable child. `onTool` is told which tool comes next, so that a crash has a name.
 */
export function scanSpec(spec: ServerSpec, onTool: (path: string) => void = () => {}): Finding[] {
  const findings: Finding[] = []
  for (const [index, tool] of spec.tools.entries()) {
    if (tool.implementation === undefined) continue
    const path = `/tools/${index}/implementation`
    onTool(path)
    findings.push(...implementationFindings(tool.implementation, path))
    if (findings.length >= MAX_FINDINGS) return findings.slice(0, MAX_FINDINGS)
  }
  for (const finding of textFindings(spec)) {
    findings.push(finding)
    if (findings.length >= MAX_FINDINGS) break
  }
  return findings
}

function implementationFindings(code: string, path: string): Finding[] {
  const findings: Finding[] = []
  const hidden = hiddenUnicode(code)
  if (hidden !== undefined) {
    findings.push({
      rule: 'hidden_unicode',
      path,
      message: `The code has hidden characters (${hidden}): it does not read as it runs.`,
    })
  }
  if (hasControlCharacters(code, 'text')) {
    const message = 'The code has control characters. Write them as escapes, such as \\u001b.'
    findings.push({ rule: 'control_character', path, message })
  }
  const { faults, texts } = scanCode(code)
  findings.push(...faults.map((fault) => ({ ...fault, path })))
  for (const { text, line } of texts) {
    const fault = textFault(text, 'sample')
    if (fault !== undefined && !(fault.rule === 'hidden_unicode' && hidden !== undefined)) {
      findings.push({ ...fault, path, message: `Line ${line}: ${fault.message}` })
    }
  }
  return findings
}
