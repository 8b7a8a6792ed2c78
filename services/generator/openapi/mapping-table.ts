/** The one table of what in a document becomes what in a server: its examples are drafted, not written. */
import { type Draft, draftFromOpenApi } from './draft.ts'
import { isObject, type JsonObject } from './json.ts'

export type MappingRow = {
  /** What stands in the document. */
  part: string
  /** The rule, as a sentence. */
  rule: string
  /** What the importer makes of an example, as JSON. */
  example: string
}

/** An operation, or more of a document around it, and which part of the draft shows the rule. */
type Case = {
  part: string
  rule: string
  operation?: JsonObject
  method?: string
  path?: string
  document?: JsonObject
  show(draft: Draft): unknown
}

const string = { type: 'string' }
const parameter = (name: string, place: string, more: JsonObject = {}): JsonObject => ({
  name,
  in: place,
  required: place === 'path',
  schema: string,
  ...more,
})
const body = (type: string, schema: JsonObject, more: JsonObject = {}): JsonObject => ({
  requestBody: { required: true, content: { [type]: { schema, ...more } } },
})
const object = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: 'object',
  properties,
  ...more,
})
const secured = (scheme: JsonObject): JsonObject => ({
  security: [{ myKey: [] }],
  components: { securitySchemes: { myKey: scheme } },
})

const operationOf = (draft: Draft) => draft.spec.tools[0]?.operation
const inputOf = (draft: Draft) => draft.spec.tools[0]?.inputSchema
const propertiesOf = (draft: Draft) => inputOf(draft)?.properties
const parametersOf = (draft: Draft) =>
  operationOf(draft)?.parameters.map(({ key, name, style, explode }) => ({
    key,
    name,
    style,
    explode,
  }))
const annotationsOf = (draft: Draft) =>
  Object.entries(draft.spec.tools[0]?.annotations ?? {}).flatMap(([hint, on]) => (on ? [hint] : []))
const credentialOf = (draft: Draft) => {
  const [{ description: _description, origins: _origins, ...credential } = {}] =
    draft.spec.credentials
  return credential
}
const refusalOf = (draft: Draft) => draft.refusals[0]?.message

const cases: readonly Case[] = [
  {
    part: '`operationId: "users/get one"`',
    rule: 'Tool name: letters beyond ASCII become Latin ones, other characters `_`; long names end in a hash, equal ones are numbered.',
    operation: { operationId: 'users/get one' },
    show: (draft) => draft.spec.tools[0]?.name,
  },
  {
    part: '`GET /users/{id}` without operationId',
    rule: 'Tool name from method and path.',
    path: '/users/{id}',
    show: (draft) => draft.spec.tools[0]?.name,
  },
  {
    part: '`summary`, `description`, `deprecated`',
    rule: 'Title and description, without HTML tags and hidden characters, shortened at a sentence.',
    operation: { summary: 'Get a user', description: '<p>Finds one.</p>', deprecated: true },
    show: (draft) => draft.spec.tools[0]?.description,
  },
  {
    part: 'GET, HEAD, OPTIONS, QUERY',
    rule: 'Hints of what only reads.',
    show: annotationsOf,
  },
  {
    part: 'PUT, DELETE',
    rule: 'Hints of what may destroy and can be repeated.',
    method: 'put',
    show: annotationsOf,
  },
  {
    part: 'POST, PATCH',
    rule: 'Hints of what may destroy: nothing says that it does not.',
    method: 'post',
    show: annotationsOf,
  },
  {
    part: 'TRACE, other methods',
    rule: 'The operation is refused.',
    document: { paths: { '/users': { get: {}, trace: {} } } },
    show: refusalOf,
  },
  {
    part: 'Path, query, header, cookie parameters',
    rule: 'Properties of the input; the way back to wire name, place and style stands in the operation.',
    path: '/users/{id}',
    operation: { parameters: [parameter('id', 'path'), parameter('filter[name]', 'query')] },
    show: parametersOf,
  },
  {
    part: 'Two parameters of one name',
    rule: 'The later one has its place behind the name. So has one whose key would be the name of another.',
    path: '/users/{id}',
    operation: { parameters: [parameter('id', 'path'), parameter('id', 'query')] },
    show: (draft) => parametersOf(draft)?.map(({ key }) => key),
  },
  {
    part: 'Headers Accept, Content-Type, Authorization, Host, …',
    rule: 'Left out: the serialiser and the broker write them.',
    operation: { parameters: [parameter('Accept', 'header'), parameter('X-Trace', 'header')] },
    show: (draft) => parametersOf(draft)?.map(({ key }) => key),
  },
  {
    part: 'Path parameter with `x-multi-segment`, `allowReserved`, `{+x}` or a slash in its pattern',
    rule: 'Its value may span several segments.',
    path: '/files/{path}',
    operation: { parameters: [parameter('path', 'path', { 'x-multi-segment': true })] },
    show: (draft) => operationOf(draft)?.url,
  },
  {
    part: 'Path parameter described as a "URL-encoded path", or with a slash in its example',
    rule: 'A slash in its value travels as `%2F`, and the list of allowed operations lets it span segments.',
    path: '/projects/{id}',
    operation: {
      parameters: [
        parameter('id', 'path', { description: 'ID or URL-encoded path of the project' }),
      ],
    },
    show: (draft) => [operationOf(draft)?.url, draft.spec.egress[0]?.operations?.[0]?.path],
  },
  {
    part: 'Swagger 2.0 `collectionFormat`',
    rule: '`csv`, `ssv`, `pipes`, `multi` become style and explode.',
    document: {
      swagger: '2.0',
      openapi: undefined,
      host: 'api.example.com',
      paths: {
        '/users': {
          get: {
            parameters: [
              { name: 'ids', in: 'query', type: 'array', items: string, collectionFormat: 'pipes' },
            ],
          },
        },
      },
    },
    show: parametersOf,
  },
  {
    part: 'JSON body that is an object',
    rule: 'Its fields are properties of the input.',
    method: 'post',
    operation: body('application/json', object({ name: string, 'e-mail@': string })),
    show: (draft) => operationOf(draft)?.body?.fields,
  },
  {
    part: 'JSON body that is a union, an open map, no object, or has a key of a parameter',
    rule: 'It stays whole under the key `body`.',
    method: 'post',
    operation: body('application/json', { oneOf: [object({ a: string }), object({ b: string })] }),
    show: propertiesOf,
  },
  {
    part: '`discriminator` beside `oneOf` or `anyOf`',
    rule: 'Each alternative says the value that means it: as a constant where `mapping` names it, else as an example.',
    method: 'post',
    operation: body('application/json', {
      oneOf: [{ $ref: '#/components/schemas/Card' }, object({ iban: string })],
      discriminator: { propertyName: 'by', mapping: { card: '#/components/schemas/Card' } },
    }),
    document: { components: { schemas: { Card: object({ number: string }) } } },
    show: propertiesOf,
  },
  {
    part: '`discriminator` of a parent that others name in their `allOf`',
    rule: 'What the children add are optional fields that say for which kind they are; deeper down the children are alternatives. `mapping`, `x-ms-discriminator-value` or the name says the kind.',
    method: 'post',
    operation: body('application/json', { $ref: '#/components/schemas/Shape' }),
    document: {
      components: {
        schemas: {
          Shape: object({ kind: string }, { discriminator: { propertyName: 'kind' } }),
          Circle: {
            allOf: [{ $ref: '#/components/schemas/Shape' }, object({ radius: string })],
          },
        },
      },
    },
    show: propertiesOf,
  },
  {
    part: 'A schema against itself: values of another type, a pattern as `/…/`, bounds that its own examples break',
    rule: 'Values are brought to the type; what refuses the examples, default or values of the schema, or examples of an object around it, is left out, with a warning. A format only informs.',
    operation: {
      parameters: [
        parameter('n', 'query', { schema: { type: 'integer', enum: ['10', '20'] } }),
        parameter('c', 'query', { schema: { type: 'string', pattern: '/^\\d{4}$/' } }),
      ],
    },
    show: propertiesOf,
  },
  {
    part: 'Body `application/x-www-form-urlencoded`',
    rule: 'Fields as in JSON; `encoding` gives their styles.',
    method: 'post',
    operation: body('application/x-www-form-urlencoded', object({ ids: { type: 'array' } }), {
      encoding: { ids: { style: 'form', explode: false } },
    }),
    show: (draft) => operationOf(draft)?.body?.fields,
  },
  {
    part: 'Body `multipart/form-data`',
    rule: 'Fields as in JSON; files are base64, data URLs, or objects with name, type and data.',
    method: 'post',
    operation: body('multipart/form-data', object({ photo: { type: 'string', format: 'binary' } })),
    show: (draft) => operationOf(draft)?.body?.fields,
  },
  {
    part: 'Body of text, XML, YAML, JSON lines (`itemSchema`)',
    rule: 'One string.',
    method: 'post',
    operation: body('text/csv', string),
    show: propertiesOf,
  },
  {
    part: 'Body of any other type',
    rule: 'A file: base64, a data URL, or an object with name, type and data; of several types the fitting one is sent.',
    method: 'post',
    operation: body('image/png', string),
    show: (draft) => operationOf(draft)?.body,
  },
  {
    part: '`$ref`, `allOf`, `nullable`, boolean `exclusiveMinimum`, `example`',
    rule: 'Resolved, merged and upgraded to JSON Schema 2020-12.',
    operation: {
      parameters: [
        parameter('age', 'query', {
          schema: {
            allOf: [
              { type: 'number', nullable: true },
              { minimum: 0, exclusiveMinimum: true },
            ],
            example: 7,
          },
        }),
      ],
    },
    show: propertiesOf,
  },
  {
    part: 'A schema that contains itself, or is larger than a tool can be',
    rule: 'Described by its type only from there on.',
    operation: {
      parameters: [parameter('node', 'query', { schema: { $ref: '#/components/schemas/Node' } })],
    },
    document: {
      components: { schemas: { Node: object({ next: { $ref: '#/components/schemas/Node' } }) } },
    },
    show: propertiesOf,
  },
  {
    part: '`readOnly` properties',
    rule: 'Left out of the input.',
    method: 'post',
    operation: body(
      'application/json',
      object({ id: { ...string, readOnly: true }, name: string }),
    ),
    show: propertiesOf,
  },
  {
    part: 'Nested keys outside `A-Z a-z 0-9 _ . -`',
    rule: 'Renamed, and renamed back in the request. Letters beyond ASCII become Latin ones, and the description says the own name.',
    method: 'post',
    operation: body('application/json', object({ user: object({ $id: string, größe: string }) })),
    show: (draft) => operationOf(draft)?.renames,
  },
  {
    part: 'External `$ref`',
    rule: 'The operation is refused; nothing is fetched.',
    document: {
      paths: { '/users': { get: {}, put: { parameters: [{ $ref: 'https://x.example/p.json' }] } } },
    },
    show: refusalOf,
  },
  {
    part: '`servers` with variables; Swagger 2.0 `host`, `basePath`, `schemes`',
    rule: 'The first http or https server, with the defaults of its variables; a base URL replaces or completes it.',
    document: {
      servers: [
        { url: 'https://{region}.example.com/v1', variables: { region: { default: 'eu' } } },
      ],
    },
    show: (draft) => draft.spec.egress,
  },
  ...(
    [
      ['apiKey', { type: 'apiKey', in: 'header', name: 'X-Key' }],
      ['http basic', { type: 'http', scheme: 'basic' }],
      ['http bearer, oauth2, openIdConnect', { type: 'oauth2', flows: {} }],
    ] as const
  ).map(([name, scheme]) => ({
    part: `Security scheme ${name}`,
    rule: 'A credential, put in by the broker; the first alternative that is wholly supported counts.',
    document: secured(scheme),
    show: credentialOf,
  })),
  {
    part: '`security` with `{}` as an alternative',
    rule: 'The credential is optional.',
    document: { ...secured({ type: 'http', scheme: 'bearer' }), security: [{ myKey: [] }, {}] },
    show: credentialOf,
  },
  {
    part: 'Other security schemes',
    rule: 'The operation is refused when it has no other alternative.',
    document: {
      components: { securitySchemes: { tls: { type: 'mutualTLS' } } },
      paths: { '/users': { get: {}, put: { security: [{ tls: [] }] } } },
    },
    show: refusalOf,
  },
  {
    part: 'Response media types',
    rule: 'The Accept header, JSON first. Response schemas are not taken over.',
    operation: { responses: { 200: { content: { 'text/csv': {}, 'application/json': {} } } } },
    show: (draft) => operationOf(draft)?.accept,
  },
  {
    part: 'Callbacks, webhooks, links',
    rule: 'Left out with a warning.',
    operation: { callbacks: { done: {} } },
    show: (draft) => draft.warnings[0]?.message,
  },
]

/** The rows, each example drafted now. */
export function mappingTable(): MappingRow[] {
  return cases.map(({ part, rule, show, ...rest }) => {
    const draft = draftFromOpenApi(JSON.stringify(documentOf(rest)))
    return { part, rule, example: JSON.stringify(show(draft)) ?? '' }
  })
}

function documentOf({
  operation,
  method,
  path,
  document,
}: Omit<Case, 'part' | 'rule' | 'show'>): JsonObject {
  return {
    openapi: '3.1.0',
    info: { title: 'Example' },
    servers: [{ url: 'https://api.example.com' }],
    paths: { [path ?? '/users']: { [method ?? 'get']: operation ?? {} } },
    ...(isObject(document) ? document : {}),
  }
}

/** As a table of GitHub-flavoured Markdown, its columns padded as the formatter wants them. */
export function mappingTableMarkdown(): string {
  const cells = mappingTable().map(({ part, rule, example }) =>
    [part, rule, `\`${example}\``].map((text) => text.replaceAll('|', '\\|')),
  )
  const head = ['In the document', 'Becomes', 'Example']
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n')
}
