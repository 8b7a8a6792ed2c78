/** What a tool's body returns or throws becomes a tool result. */

export type ToolResultInput = {
  content: unknown[]
  structuredContent?: unknown
  isError?: boolean
}

const results = new WeakSet<object>()

/** `ctx.result(…)`: marks an object as a whole result, so that plain values cannot be mistaken for one. */
export function markResult(result: ToolResultInput): ToolResultInput {
  if (typeof result !== 'object' || result === null || !Array.isArray(result.content)) {
    throw new TypeError('ctx.result takes { content: [...], structuredContent?, isError? }')
  }
  const { content, structuredContent, isError } = result
  const marked: ToolResultInput = { content }
  if (structuredContent !== undefined) marked.structuredContent = structuredContent
  if (isError !== undefined) marked.isError = isError
  results.add(marked)
  return marked
}

/** JSON of a result. A string is a text, nothing is no content, anything else is JSON text. Throws when it has no JSON form. */
export function resultText(value: unknown): string {
  if (typeof value === 'object' && value !== null && results.has(value))
    return JSON.stringify(value)
  if (value === undefined) return '{"content":[]}'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text === undefined) throw new TypeError(`a tool cannot return a ${typeof value}`)
  return `{"content":[{"type":"text","text":${JSON.stringify(text)}}]}`
}

/** A failed call that the model should read: no stack, since that shows code. */
export function errorText(message: string): string {
  return JSON.stringify({ content: [{ type: 'text', text: message }], isError: true })
}

export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name
  return typeof error === 'string' ? error : 'The tool failed without a message.'
}
