/** Tools of documents of one operation, and what leaves when they are called with an input. */
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { requestFrom } from '@bmm/runner/guest/request.ts'

export function toolOf(document: object, name = 'run') {
  const draft = draftFromOpenApi(JSON.stringify(document), {})
  const tool = draft.spec.tools.find((each) => each.name === name)
  if (tool?.operation === undefined) throw new Error(JSON.stringify(draft.refusals))
  return { ...tool, operation: tool.operation, warnings: draft.warnings }
}

export function documentOf(operation: object, schemas: object = {}): object {
  return {
    openapi: '3.1.0',
    info: { title: 'T' },
    servers: [{ url: 'https://api.example.com' }],
    paths: { '/things': { post: { operationId: 'run', responses: {}, ...operation } } },
    components: { schemas },
  }
}

export function withBody(schema: object, schemas: object = {}): object {
  return documentOf(
    { requestBody: { required: true, content: { 'application/json': { schema } } } },
    schemas,
  )
}

export function withQuery(schema: object): object {
  return documentOf({ parameters: [{ name: 'q', in: 'query', schema }] })
}

type Tool = ReturnType<typeof toolOf>

/** What is wrong with the input, or the body that leaves. */
export function sent(tool: Tool, input: Record<string, unknown>): unknown {
  const problems = schemaCheck(tool.inputSchema)(input)
  if (problems.length > 0) return { refused: problems }
  const { body, url } = requestFrom(tool.operation, input, () => 'boundary')
  return body === undefined ? url : JSON.parse(new TextDecoder().decode(body))
}
