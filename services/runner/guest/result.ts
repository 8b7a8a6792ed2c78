/** What a tool's body returns or throws becomes a tool result. */
import type { SchemaCheck } from './input.ts'

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

/**
 * JSON of a result. A string is a text, nothing is no content, anything else is JSON text, and also the structured content
 * of a tool that promises some. Throws when it has no JSON form, or does not fit what the tool promises.
 */
export function resultText(value: unknown, promise?: SchemaCheck): string {
  if (promise !== undefined) return promisedText(value, promise)
  if (isResult(value)) return JSON.stringify(value)
  if (value === undefined) return '{"content":[]}'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text === undefined) throw new TypeError(`a tool cannot return a ${typeof value}`)
  return `{"content":[{"type":"text","text":${JSON.stringify(text)}}]}`
}

/** MCP, server/tools, Output Schema: a server that declares one must answer structured content that conforms to it. */
function promisedText(value: unknown, promise: SchemaCheck): string {
  const result = isResult(value) ? value : markResult({ content: [], structuredContent: value })
  if (result.isError === true) return JSON.stringify(result)
  const { structuredContent } = result
  const json = JSON.stringify(structuredContent)
  if (json === undefined) {
    throw new Error(
      'The tool promises structured content (its outputSchema), and its code answered none. Return a value that fits, or ctx.result({ content, structuredContent }).',
    )
  }
  const problems = promise(JSON.parse(json))
  if (problems.length > 0) {
    throw new Error(
      `The answer of this tool does not fit the outputSchema that it promises:\n- ${problems.join('\n- ')}`,
    )
  }
  if (isResult(value)) return JSON.stringify(result)
  const text = typeof value === 'string' ? json : JSON.stringify(json)
  return `{"content":[{"type":"text","text":${text}}],"structuredContent":${json}}`
}

function isResult(value: unknown): value is ToolResultInput {
  return typeof value === 'object' && value !== null && results.has(value)
}

/** A failed call that the model should read: no stack, since that shows code. */
export function errorText(message: string): string {
  return JSON.stringify({ content: [{ type: 'text', text: message }], isError: true })
}

export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name
  return typeof error === 'string' ? error : 'The tool failed without a message.'
}
