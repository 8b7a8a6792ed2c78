/** How an independent reader (Stoplight's http-spec) understands a document: its operations, and how each value of them travels. */
import { isObject, type Json, objectAt, pointedAt } from './json.ts'
import { load } from './packages.ts'

export type ReadParameter = {
  name: string
  style?: string
  explode?: boolean
  required?: boolean
  schema?: Json
  content?: Record<string, unknown>
  examples?: ReadExample[]
}
export type ReadExample = { key: string; value?: unknown; externalValue?: unknown }
export type ReadEncoding = { property: string; style?: string; explode?: boolean }
export type ReadContent = {
  mediaType: string
  schema?: Json
  encodings?: ReadEncoding[]
  examples?: ReadExample[]
}
export type ReadOperation = {
  method: string
  path: string
  request?: {
    path?: ReadParameter[]
    query?: ReadParameter[]
    headers?: ReadParameter[]
    cookie?: ReadParameter[]
    body?: { required?: boolean; contents?: ReadContent[] }
  }
  servers?: { url: string }[]
}
export type Located = { method: string; path: string; operationId?: unknown }
type Transform = (options: {
  document: Json
  name: string
  method: string
  config: { type: string; documentProp: string; nameProp: string }
}) => ReadOperation
export type DocumentReader = {
  operations: Located[]
  read(located: Located): ReadOperation
}

const config = { type: 'operation', documentProp: 'paths', nameProp: 'path' }
const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query']

export function documentReader(document: Json): DocumentReader {
  const { transformOas3Operation } = load<{ transformOas3Operation: Transform }>(
    '@stoplight/http-spec/oas3/operation',
  )
  const { transformOas2Operation } = load<{ transformOas2Operation: Transform }>(
    '@stoplight/http-spec/oas2/operation',
  )
  const transform = 'swagger' in document ? transformOas2Operation : transformOas3Operation
  const asked = withoutAnswers(document)
  const operations = Object.entries(objectAt(document, 'paths')).flatMap(([path, value]) => {
    const item = followed(document, value)
    return isObject(item) && !path.startsWith('x-')
      ? methods.flatMap((method) => {
          const operation = item[method]
          return isObject(operation) ? [{ method, path, operationId: operation.operationId }] : []
        })
      : []
  })
  return {
    operations,
    read: ({ path, method }) => transform({ document: asked, name: path, method, config }),
  }
}

/** Answers are most of a document, and are not read here. */
function withoutAnswers(document: Json): Json {
  const paths = Object.entries(objectAt(document, 'paths')).map(([path, value]) => {
    const item = followed(document, value)
    const bare = isObject(item)
      ? Object.fromEntries(
          Object.entries(item).map(([key, part]) => [
            key,
            isObject(part) && methods.includes(key)
              ? { ...part, responses: {}, callbacks: {} }
              : part,
          ]),
        )
      : item
    return [path, bare]
  })
  // Where a document of Swagger 2.0 does not say what it takes, JSON is meant.
  const consumes = document.consumes ?? ['application/json', 'application/x-www-form-urlencoded']
  return { ...document, consumes, paths: Object.fromEntries(paths) }
}

function followed(document: Json, item: unknown): unknown {
  if (!isObject(item) || typeof item.$ref !== 'string') return item
  return { ...objectOr(pointedAt(document, item.$ref)), ...item }
}

function objectOr(value: unknown): Json {
  return isObject(value) ? value : {}
}
