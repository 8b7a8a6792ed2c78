/** An upstream HTTP response becomes the result of a tool call. */

export type UpstreamResponse = {
  status: number
  headers: readonly (readonly [name: string, value: string])[]
  body: Uint8Array
}

export type ContentBlock =
  | { type: 'text'; text: string }
  | { type: 'image' | 'audio'; data: string; mimeType: string }
  | { type: 'resource'; resource: { uri: string; mimeType: string; blob: string } }

export type ToolResult = {
  content: ContentBlock[]
  structuredContent?: Record<string, unknown> | undefined
  isError?: boolean | undefined
}

/** `url` names an embedded resource. */
export function toolResultFrom(_response: UpstreamResponse, _url: string): ToolResult {
  return { content: [], isError: true }
}
