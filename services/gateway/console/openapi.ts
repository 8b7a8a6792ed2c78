/** The OpenAPI document of the REST API, made from the routes themselves. */
import { problemAnswer } from '@bmm/spec/rest-answer'
import { z } from 'zod'

/** What this needs of a route; Elysia's own type knows nothing of standard schemas. */
export type DocumentedRoute = {
  method: string
  path: string
  hooks: {
    body?: unknown
    query?: unknown
    response?: unknown
    detail?: { summary?: string; description?: string; tags?: string[]; security?: [] }
  }
}

type JsonSchema = Record<string, unknown>

/** OpenAPI 3.1; schemas with a name become components, so that clients get names for them. */
export function openApiDocument(routes: readonly DocumentedRoute[], publicUrl: string) {
  const schemas: Record<string, unknown> = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => hoisted(schema, io, schemas)
  const problem = {
    description: 'A problem (RFC 9457).',
    content: { 'application/problem+json': { schema: schemaOf(problemAnswer, 'output') } },
  }
  const paths: Record<string, Record<string, unknown>> = {}
  for (const { method, path, hooks } of routes) {
    if (hooks.detail?.summary === undefined) continue
    const template = path.replace(/:([A-Za-z]+)/g, '{$1}')
    const { summary, description, tags, security } = hooks.detail
    paths[template] = {
      ...paths[template],
      [method.toLowerCase()]: {
        operationId: operationId(method, path),
        ...{ summary, tags },
        ...(description === undefined ? {} : { description }),
        ...(security === undefined ? {} : { security }),
        parameters: [...pathParameters(path), ...queryParameters(hooks.query, schemaOf)],
        ...(hooks.body instanceof z.ZodType
          ? { requestBody: { required: true, content: json(schemaOf(hooks.body, 'input')) } }
          : {}),
        responses: { ...answers(hooks.response, schemaOf), default: problem },
      },
    }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Build My MCP',
      version: '1',
      description: 'From an OpenAPI document to a live, sandboxed, OAuth-protected MCP server.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: publicUrl }],
    security: [{ session: [] }, { cookie: [] }],
    paths,
    components: {
      schemas,
      securitySchemes: {
        session: {
          type: 'http',
          scheme: 'bearer',
          description: '`bms_…` of a sign-in, or `bmm_…` of a program.',
        },
        cookie: { type: 'apiKey', in: 'cookie', name: '__Host-bmm' },
      },
    },
  }
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => JsonSchema

/** `get /v1/servers/:server/logs` → `getServersLogs`; a trailing parameter gets `By…`. */
function operationId(method: string, path: string): string {
  const words = path
    .split('/')
    .filter((part) => part !== '' && part !== 'v1')
    .filter((part, index, parts) => !part.startsWith(':') || index === parts.length - 1)
    .map((part) => (part.startsWith(':') ? `by-${part.slice(1)}` : part))
    .join('-')
  return `${method.toLowerCase()}-${words}`.replace(/-([a-z])/g, (_, letter: string) =>
    letter.toUpperCase(),
  )
}

function pathParameters(path: string) {
  return [...path.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters(query: unknown, schemaOf: SchemaOf) {
  if (!(query instanceof z.ZodObject)) return []
  return Object.entries(query.shape).map(([name, schema]) => ({
    name,
    in: 'query',
    required: !schema.safeParse(undefined).success,
    schema: schemaOf(schema, 'output'),
  }))
}

function answers(response: unknown, schemaOf: SchemaOf): Record<string, unknown> {
  const byStatus = Object.entries((response ?? {}) as Record<string, unknown>)
  return Object.fromEntries(
    byStatus.flatMap(([status, schema]) =>
      schema instanceof z.ZodType
        ? [[status, { description: 'Done.', content: json(schemaOf(schema, 'output')) }]]
        : [],
    ),
  )
}

function json(schema: JsonSchema) {
  return { 'application/json': { schema } }
}

/** Zod puts named schemas under `$defs` of each document: they move to the components, references along. */
function hoisted(
  schema: z.ZodType,
  io: 'input' | 'output',
  components: Record<string, unknown>,
): JsonSchema {
  const id = z.globalRegistry.get(schema)?.id
  const text = JSON.stringify(z.toJSONSchema(schema, { io, unrepresentable: 'any' }))
  const {
    $schema: _,
    $defs,
    ...rest
  } = JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/'))
  for (const [name, definition] of Object.entries($defs ?? {})) {
    components[name] = withoutId(definition as JsonSchema)
  }
  if (id === undefined) return withoutId(rest)
  components[id] = withoutId(rest)
  return { $ref: `#/components/schemas/${id}` }
}

/** `.meta({ id })` leaves an `id` that JSON Schema does not know. */
function withoutId({ id: _, ...schema }: JsonSchema): JsonSchema {
  return schema
}
