/** What clients see of a server, prepared once from its confirmed spec: pages of tools and who the server says it is. */
import { MAX_BUILD_TOOLS, type ServerSpec, type ToolSpec } from '@bmm/spec/server-spec'
import { type ParamHeader, paramHeaders, withoutParamHeaders } from './param-header.ts'

/** Many clients never ask for a second page, so a page holds every tool that can be built, unless they are huge. */
const PAGE_TOOLS = MAX_BUILD_TOOLS
const PAGE_CHARACTERS = 4 * 1024 * 1024

export type ListedServer = {
  /** `{"name":…,"title":…,"version":…}` as JSON. */
  info: string
  /** The name that people see. */
  title: string
  instructions: string | undefined
  /** Declared parameter headers by tool name; its keys are all the tools there are. */
  tools: ReadonlyMap<string, readonly ParamHeader[]>
  legacyPages: ToolPages
  modernPages: ToolPages
  /** Characters kept in memory, for bounding the cache. */
  weight: number
}

/** `"tools":[…]` and, before the last page, `"nextCursor":"…"`, by cursor; the first page has the cursor ''. */
export type ToolPages = ReadonlyMap<string, string>

export type ListOptions = {
  slug: string
  version: number
  /** Binds cursors to this version of the list. */
  specDigest: string
  pageTools?: number
}

/** Deterministic: the order is the spec's, the text depends on nothing else. */
export function listServer(spec: ServerSpec, options: ListOptions): ListedServer {
  const tools = new Map<string, readonly ParamHeader[]>()
  const legacy: string[] = []
  const modern: string[] = []
  for (const tool of spec.tools) {
    const declared = paramHeaders(tool.inputSchema)
    const inputSchema =
      declared === undefined ? withoutParamHeaders(tool.inputSchema) : tool.inputSchema
    tools.set(tool.name, declared ?? [])
    modern.push(listedTool({ ...tool, inputSchema }, tool.outputSchema))
    legacy.push(listedTool({ ...tool, inputSchema }, legacyOutputSchema(tool)))
  }
  const pageTools = options.pageTools ?? PAGE_TOOLS
  const weight = [...legacy, ...modern].reduce((sum, text) => sum + text.length, 0)
  return {
    info: JSON.stringify({
      name: options.slug,
      title: spec.name,
      version: String(options.version),
    }),
    title: spec.name,
    instructions: spec.instructions,
    tools,
    legacyPages: pages(legacy, options.specDigest, pageTools),
    modernPages: pages(modern, options.specDigest, pageTools),
    weight,
  }
}

function listedTool(tool: ToolSpec, outputSchema: ToolSpec['outputSchema']): string {
  const { name, title, description, inputSchema, annotations } = tool
  return JSON.stringify({ name, title, description, inputSchema, outputSchema, annotations })
}

/** Until 2025-11-25 an output schema has an object at its root. */
function legacyOutputSchema(tool: ToolSpec): ToolSpec['outputSchema'] {
  return tool.outputSchema?.type === 'object' ? tool.outputSchema : undefined
}

function pages(tools: readonly string[], specDigest: string, pageTools: number): ToolPages {
  const starts = [0]
  let characters = 0
  let count = 0
  tools.forEach((text, index) => {
    if (count > 0 && (count >= pageTools || characters + text.length > PAGE_CHARACTERS)) {
      starts.push(index)
      characters = 0
      count = 0
    }
    characters += text.length
    count++
  })
  const cursor = (index: number) =>
    Buffer.from(`${specDigest.slice('sha256:'.length, 'sha256:'.length + 12)}.${index}`).toString(
      'base64url',
    )
  return new Map(
    starts.map((start, page) => {
      const next = starts[page + 1]
      const list = `"tools":[${tools.slice(start, next).join(',')}]`
      const more = next === undefined ? '' : `,"nextCursor":${JSON.stringify(cursor(next))}`
      return [start === 0 ? '' : cursor(start), list + more]
    }),
  )
}
