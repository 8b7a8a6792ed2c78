/** What a server is: the one schema that drafting, editing, building, serving and forking share. */
import { z } from 'zod'

export const SPEC_VERSION = 1
export const MAX_SPEC_BYTES = 8 * 1024 * 1024
/** Drafting has no limit of operations; building does, because models fail on longer tool lists. */
export const MAX_BUILD_TOOLS = 200
const MAX_DRAFT_TOOLS = 50_000
const MAX_NAME = 120
const MAX_DESCRIPTION = 4_000
const MAX_INSTRUCTIONS = 8_000
const MAX_URL = 2_000
const MAX_IMPLEMENTATION = 64 * 1024
const MAX_PARAMETERS = 500
export const MAX_CREDENTIALS = 20
const MAX_ORIGINS = 50
const MAX_EXAMPLES = 10

export const toolNamePattern = /^[A-Za-z0-9_-]{1,64}$/
/** One key outside this alphabet (`filter[name]`) makes some model APIs refuse the whole tool list. */
export const propertyKeyPattern = /^[A-Za-z0-9_.-]{1,64}$/
export const credentialNamePattern = /^[A-Z][A-Z0-9_]{0,63}$/
/** RFC 9110 section 5.6.2 token, without the characters no real header name uses. */
const headerNamePattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/

/** `scheme://host[:port]`, lower case, default port dropped: exactly what `new URL(x).origin` prints. */
export const originSchema = z
  .string()
  .max(MAX_URL)
  .refine(isOrigin, 'must be an origin such as https://api.example.com, without a path')

const jsonSchemaSchema = z.record(z.string(), z.unknown())

export const httpMethodSchema = z.enum([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  /** Safe and idempotent with a body (OpenAPI 3.2 section 4.9). */
  'QUERY',
])
export type HttpMethod = z.infer<typeof httpMethodSchema>

/** How one property of the tool's input travels in the request (OpenAPI 3.1 section 4.8.12.3). */
export const parameterSchema = z.strictObject({
  /** The property of the tool's input. */
  key: z.string().regex(propertyKeyPattern),
  /** The name on the wire; differs from `key` where the wire name has characters outside the safe alphabet. */
  name: z.string().min(1).max(256),
  in: z.enum(['path', 'query', 'header', 'cookie']),
  style: z.enum([
    'simple',
    'label',
    'matrix',
    'form',
    'spaceDelimited',
    'pipeDelimited',
    /** `collectionFormat: tsv` of Swagger 2.0. */
    'tabDelimited',
    'deepObject',
  ]),
  explode: z.boolean(),
  /** Reserved characters pass unescaped (RFC 6570 section 3.2.3); in a path this lets a value span segments. */
  allowReserved: z.boolean().optional(),
  /** The value is serialised as this media type (`content` instead of `schema`), JSON in practice. */
  contentType: z.string().max(200).optional(),
})
export type ParameterSpec = z.infer<typeof parameterSchema>

/** One nested key that had to be renamed: `at` is the path in the tool's input, `*` for any array item or map entry. */
const renameSchema = z.strictObject({
  at: z.array(z.string().max(256)).min(1).max(64),
  wire: z.string().min(1).max(1_000),
})
export type RenameSpec = z.infer<typeof renameSchema>

const bodySchema = z.strictObject({
  kind: z.enum(['json', 'form', 'multipart', 'text', 'binary']),
  /** For `binary`, a list or ranges of media types: the one that fits the bytes is sent. */
  contentType: z.string().min(1).max(200),
  required: z.boolean(),
  /** The one input property that holds the whole body; absent when the body's fields are flattened into the input. */
  key: z.string().regex(propertyKeyPattern).optional(),
  /** With a flattened body: the input properties that are its fields, with their wire names. */
  fields: z
    .array(
      z.strictObject({
        key: z.string().regex(propertyKeyPattern),
        name: z.string().min(1).max(1_000),
        /** multipart: a file part, whose value is base64 text, a data URL, or an object of name, type and data. */
        file: z.boolean().optional(),
        /** form and multipart: the media type of this part (OpenAPI encoding object); of a file, a list or ranges. */
        contentType: z.string().max(200).optional(),
        style: z
          .enum(['form', 'spaceDelimited', 'pipeDelimited', 'tabDelimited', 'deepObject'])
          .optional(),
        explode: z.boolean().optional(),
      }),
    )
    .max(MAX_PARAMETERS)
    .optional(),
})
export type BodySpec = z.infer<typeof bodySchema>

/** An imported operation: pure data, carried out by the guest's one reviewed `ctx.request`. */
export const operationSchema = z.strictObject({
  method: httpMethodSchema,
  /** Absolute URL template, `https://api.example.com/v1/pets/{petId}`; `{x}` names a path parameter's wire name,
   * `{+x}` one whose value may span several segments. */
  url: z.string().min(1).max(MAX_URL),
  parameters: z.array(parameterSchema).max(MAX_PARAMETERS),
  body: bodySchema.optional(),
  /** Nested keys of parameters and body that had to be renamed to fit the safe alphabet. */
  renames: z.array(renameSchema).max(MAX_PARAMETERS).optional(),
  /** The Accept header; absent means anything. */
  accept: z.string().max(500).optional(),
})
export type OperationSpec = z.infer<typeof operationSchema>

const exampleSchema = z.strictObject({
  name: z.string().max(MAX_NAME),
  input: z.record(z.string(), z.unknown()),
})

/** Hints of MCP 2025-03-26 and later (`ToolAnnotations`); computed from the operation where there is one. */
const annotationsSchema = z.strictObject({
  readOnlyHint: z.boolean(),
  destructiveHint: z.boolean(),
  idempotentHint: z.boolean(),
  openWorldHint: z.boolean(),
})

const toolSchema = z
  .strictObject({
    name: z.string().regex(toolNamePattern),
    title: z.string().max(MAX_NAME).optional(),
    description: z.string().max(MAX_DESCRIPTION),
    inputSchema: jsonSchemaSchema,
    /** Promises structured content that conforms to it: the guest holds each answer to it (MCP, Output Schema). */
    outputSchema: jsonSchemaSchema.optional(),
    annotations: annotationsSchema,
    /** The body of `async (input, ctx) => { … }`, TypeScript. */
    implementation: z.string().max(MAX_IMPLEMENTATION).optional(),
    operation: operationSchema.optional(),
    examples: z.array(exampleSchema).max(MAX_EXAMPLES),
  })
  .refine((tool) => (tool.implementation === undefined) !== (tool.operation === undefined), {
    message: 'has exactly one of implementation and operation',
  })
  .refine((tool) => isPlainObjectSchema(tool.inputSchema), {
    message: 'inputSchema must have type "object" at its root, without anyOf or oneOf',
    path: ['inputSchema'],
  })
export type ToolSpec = z.infer<typeof toolSchema>

/** A credential that the server needs and where it may go; its value lives in the vault only. */
export const credentialSchema = z
  .strictObject({
    name: z.string().regex(credentialNamePattern),
    description: z.string().max(MAX_DESCRIPTION),
    whereToGet: z.string().max(MAX_URL).optional(),
    scheme: z.enum(['bearer', 'basic', 'header', 'query', 'cookie']),
    /** The header, query parameter or cookie that carries it; for the last three schemes only. */
    parameter: z.string().min(1).max(128).optional(),
    origins: z.array(originSchema).min(1).max(MAX_ORIGINS),
    /** Every operation also works without it: a server can be built while it has no value. */
    optional: z.boolean().optional(),
  })
  .refine((c) => (c.parameter !== undefined) === ['header', 'query', 'cookie'].includes(c.scheme), {
    message: 'parameter belongs to the schemes header, query and cookie, and only to them',
    path: ['parameter'],
  })
  .refine((c) => c.scheme !== 'header' || headerNamePattern.test(c.parameter ?? ''), {
    message: 'parameter must be an HTTP header name',
    path: ['parameter'],
  })
export type CredentialSpec = z.infer<typeof credentialSchema>

export const egressSchema = z.strictObject({
  origin: originSchema,
  /** Absent: every method and path of the origin. Paths are templates as in `operation.url`. */
  operations: z
    .array(
      z.strictObject({
        method: httpMethodSchema,
        path: z.string().startsWith('/').max(MAX_URL),
        /** Names of the credentials that go with it; absent: all that go to the origin. Empty: it is public. */
        credentials: z
          .array(z.string().regex(credentialNamePattern))
          .max(MAX_CREDENTIALS)
          .optional(),
      }),
    )
    .max(MAX_DRAFT_TOOLS)
    .optional(),
})

export const serverSpecSchema = z
  .strictObject({
    specVersion: z.literal(SPEC_VERSION),
    name: z.string().min(1).max(MAX_NAME),
    description: z.string().max(MAX_DESCRIPTION),
    instructions: z.string().max(MAX_INSTRUCTIONS).optional(),
    tools: z.array(toolSchema).max(MAX_DRAFT_TOOLS),
    credentials: z.array(credentialSchema).max(MAX_CREDENTIALS),
    egress: z.array(egressSchema).max(MAX_ORIGINS),
  })
  .superRefine((spec, context) => {
    for (const [field, names] of [
      ['tools', spec.tools.map((tool) => tool.name)],
      ['credentials', spec.credentials.map((credential) => credential.name)],
      ['egress', spec.egress.map((egress) => egress.origin)],
    ] as const) {
      const seen = new Set<string>()
      names.forEach((name, index) => {
        if (seen.has(name))
          context.addIssue({ code: 'custom', path: [field, index], message: 'stands twice' })
        seen.add(name)
      })
    }
  })
export type ServerSpec = z.infer<typeof serverSpecSchema>

/** Parses stored or shown spec bytes (UTF-8 JSON). Throws ZodError or SyntaxError. */
export function parseServerSpec(bytes: Uint8Array): ServerSpec {
  return serverSpecSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
}

/** The bytes that are shown, confirmed, digested and stored: they are never re-serialised afterwards. */
export function serverSpecBytes(spec: ServerSpec): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(spec))
}

function isOrigin(value: string): boolean {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  return (url.protocol === 'https:' || url.protocol === 'http:') && url.origin === value
}

function isPlainObjectSchema(schema: Record<string, unknown>): boolean {
  return schema.type === 'object' && !('anyOf' in schema) && !('oneOf' in schema)
}
