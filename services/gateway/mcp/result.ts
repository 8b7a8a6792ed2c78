/** Results of tools: opaque bytes from a sandbox, parsed, checked and rebuilt from known fields only (pure). */
import { isObject, JsonFault, parseJson } from '../arrival/json-text.ts'

const MAX_RESULT_DEPTH = 64
/** So many are parsed in some 20 ms, while everything else waits. */
const MAX_RESULT_VALUES = 100_000
const MAX_BLOCKS = 1_000
const base64Pattern = /^[A-Za-z0-9+/]*={0,2}$/

export type Content = Record<string, unknown> & { type: string }
export type ToolResult = { content: Content[]; structuredContent?: unknown; isError?: true }

/** The tool's answer is no result; the message is a sentence for people without any of its bytes. */
export class ResultFault extends Error {
  override name = 'ResultFault'
}

/**
 * Rebuilds a result. Spliced into the answer as it came, a tool could forge a second `id` and `result`, or an
 * answer to somebody else's request. Throws ResultFault.
 */
export function rebuildResult(bytes: Uint8Array): ToolResult {
  const value = parsed(bytes)
  if (!isObject(value)) throw new ResultFault('The tool did not answer with a result object.')
  const blocks = value.content ?? []
  if (!Array.isArray(blocks)) throw new ResultFault('The content of the tool’s answer is no list.')
  if (blocks.length > MAX_BLOCKS) {
    throw new ResultFault(`The tool answered with more than ${MAX_BLOCKS} pieces of content.`)
  }
  const result: ToolResult = { content: blocks.map(rebuildBlock) }
  if (value.structuredContent !== undefined) result.structuredContent = value.structuredContent
  if (value.isError === true) result.isError = true
  return result
}

/** JSON of a result for clients of 2026-07-28, where structured content may be any value. */
export function modernResult(result: ToolResult, serverInfo: string): string {
  const { content, structuredContent, isError } = withTextFallback(result)
  const fields = JSON.stringify({ content, structuredContent, isError }).slice(1)
  return `{"resultType":"complete",${modernMeta(serverInfo)},${fields}`
}

/** `"_meta":{…}` that names the server, as every result of 2026-07-28 should. */
export function modernMeta(serverInfo: string): string {
  return `"_meta":{"io.modelcontextprotocol/serverInfo":${serverInfo}}`
}

/** JSON of a result for earlier clients, where structured content is an object. */
export function legacyResult(result: ToolResult): string {
  const { content, structuredContent, isError } = withTextFallback(result)
  return JSON.stringify({
    content,
    structuredContent: isObject(structuredContent) ? structuredContent : undefined,
    isError,
  })
}

/** A structured value that is no object also comes as text, so that no client sees nothing. */
function withTextFallback(result: ToolResult): ToolResult {
  const { content, structuredContent } = result
  const needless =
    structuredContent === undefined ||
    isObject(structuredContent) ||
    content.some((block) => block.type === 'text')
  if (needless) return result
  return {
    ...result,
    content: [...content, { type: 'text', text: JSON.stringify(structuredContent) }],
  }
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, {
      maxDepth: MAX_RESULT_DEPTH,
      maxValues: MAX_RESULT_VALUES,
      repeatedKeys: 'allowed',
      numbers: 'exact',
    })
  } catch (thrown) {
    if (thrown instanceof JsonFault && thrown.kind === 'too_many_values') {
      throw new ResultFault(
        `The tool’s answer has more than ${MAX_RESULT_VALUES} keys and values. Ask for less at a time, or let the tool answer with text.`,
      )
    }
    throw new ResultFault('The tool’s answer is not JSON, or nested too deeply.')
  }
}

function rebuildBlock(block: unknown): Content {
  if (!isObject(block)) throw new ResultFault('A piece of the tool’s answer is no object.')
  if (block.type === 'text' && block.annotations === undefined) {
    return { type: 'text', text: text(block.text) }
  }
  const annotations = rebuildAnnotations(block.annotations)
  switch (block.type) {
    case 'text':
      return { type: 'text', text: text(block.text), ...annotations }
    case 'image':
    case 'audio':
      return {
        type: block.type,
        data: base64(block.data),
        mimeType: text(block.mimeType),
        ...annotations,
      }
    case 'resource':
      return { type: 'resource', resource: rebuildResource(block.resource), ...annotations }
    case 'resource_link':
      return {
        type: 'resource_link',
        uri: text(block.uri),
        name: text(block.name),
        ...optionalText(block, 'title'),
        ...optionalText(block, 'description'),
        ...optionalText(block, 'mimeType'),
        ...(typeof block.size === 'number' ? { size: block.size } : {}),
        ...annotations,
      }
    default:
      throw new ResultFault('A piece of the tool’s answer is of no kind that MCP knows.')
  }
}

function rebuildResource(resource: unknown): Record<string, unknown> {
  if (!isObject(resource)) throw new ResultFault('An embedded resource is no object.')
  return {
    uri: text(resource.uri),
    ...optionalText(resource, 'mimeType'),
    ...(typeof resource.text === 'string'
      ? { text: resource.text }
      : { blob: base64(resource.blob) }),
  }
}

/** Annotations are advice: malformed ones are left out instead of failing the answer. */
function rebuildAnnotations(value: unknown): { annotations?: Record<string, unknown> } {
  if (!isObject(value)) return {}
  const { audience, priority, lastModified } = value
  const roles = Array.isArray(audience)
    ? audience.filter((role) => role === 'user' || role === 'assistant')
    : []
  const kept = {
    ...(roles.length > 0 ? { audience: roles } : {}),
    ...(typeof priority === 'number' && priority >= 0 && priority <= 1 ? { priority } : {}),
    ...(typeof lastModified === 'string' && !Number.isNaN(Date.parse(lastModified))
      ? { lastModified: new Date(lastModified).toISOString() }
      : {}),
  }
  return Object.keys(kept).length > 0 ? { annotations: kept } : {}
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new ResultFault('A text in the tool’s answer is missing.')
  return value
}

function base64(value: unknown): string {
  if (typeof value !== 'string' || value.length % 4 !== 0 || !base64Pattern.test(value)) {
    throw new ResultFault('Binary content in the tool’s answer is not base64.')
  }
  return value
}

function optionalText(from: Record<string, unknown>, key: string): Record<string, string> {
  const value = from[key]
  return typeof value === 'string' ? { [key]: value } : {}
}
