/** What a scan reports: which rule, where in the spec, and a sentence that says how to mend it. */

/** Rules over the code of a tool. */
export const codeRules = [
  'not_one_function',
  'unreadable_code',
  'unsupported_syntax',
  'eval',
  'function_constructor',
  'constructor_access',
  'dynamic_import',
  'require',
  'module_load',
  'vm_run',
  'host_object',
  'global_object',
  'string_timer',
  'prototype',
  'reflect',
  'computed_call',
] as const

/** Rules over every text that a model reads. */
export const textRules = [
  'ignore_instructions',
  'prompt_override',
  'keep_from_person',
  'tool_preference',
  'private_data',
  'control_character',
  'hidden_unicode',
  'encoded_text',
] as const

export type CodeRule = (typeof codeRules)[number]
export type TextRule = (typeof textRules)[number]

export type Finding = {
  rule: CodeRule | TextRule
  /** JSON pointer into the spec. */
  path: string
  message: string
}

/** Why a build with these findings is refused; undefined when there are none. Code comes first: it would run. */
export function refusalOf(
  findings: readonly Finding[],
): { reason: 'banned_pattern' | 'prompt_injection'; finding: Finding } | undefined {
  const code = findings.find((finding) => isCodeRule(finding.rule))
  if (code !== undefined) return { reason: 'banned_pattern', finding: code }
  const text = findings[0]
  return text === undefined ? undefined : { reason: 'prompt_injection', finding: text }
}

function isCodeRule(rule: Finding['rule']): boolean {
  return (codeRules as readonly string[]).includes(rule)
}
