/** The operations of a document, in its order: each is listed, or refused with a sentence. */
import { type HttpMethod, httpMethodSchema } from '@bmm/spec/server-spec'
import { ImportError } from './import-error.ts'
import { isObject, type JsonObject, listAt, objectAt, own, pointerTo } from './json.ts'
import { line } from './prose.ts'
import { ReferenceFault, type References } from './reference.ts'
import { Refused } from './refused.ts'
import type { Import, Operation } from './tool.ts'

/** Something that did not become a tool, with the reason as a sentence. `operation` is `GET /path`. */
export type Refusal = { path: string; operation?: string | undefined; message: string }
export type Listed = Omit<Operation, 'server' | 'signing'> & { tags: string[] }

const MAX_OPERATIONS = 50_000
const MAX_TAG = 120

/** Every operation of the document, in its order; path items that cannot be read become refusals. */
export function listedOperations(
  { document, references, notices }: Import,
  refusals: Refusal[],
): Listed[] {
  const listed: Listed[] = []
  const { root } = document
  if (Object.keys(objectAt(root, 'webhooks')).length > 0) {
    notices.warn('/webhooks', 'Webhooks are calls to you, not to the API: they were left out.')
  }
  // Azure tells operations of one path apart by a query in the path, in a place of its own.
  const all = ['paths', 'x-ms-paths'].flatMap((place) =>
    Object.entries(objectAt(root, place)).map(([path, value]) => ({
      ...{ path, value, pointer: pointerTo(`/${place}`, path) },
    })),
  )
  for (const { path, value, pointer } of all) {
    if (path.startsWith('x-')) continue
    try {
      const pathItem = references.follow(value)
      if (isObject(pathItem)) {
        listed.push(...operationsOf(path, pointer, pathItem, references, refusals))
      } else {
        refusals.push({ path: pointer, message: 'The path has no operations: it is no object.' })
      }
      // Siblings of a path item's `$ref` count too: common documents keep operations there.
      if (isObject(value) && value !== pathItem)
        listed.push(...operationsOf(path, pointer, value, references, refusals))
    } catch (error) {
      if (!(error instanceof ReferenceFault)) throw error
      refusals.push({ path: pointer, message: error.message })
    }
  }
  if (listed.length > MAX_OPERATIONS) {
    throw new ImportError({
      code: 'document_too_large',
      message: `The document has ${listed.length} operations; at most ${MAX_OPERATIONS} can be drafted.`,
    })
  }
  return listed
}

const httpMethods: ReadonlySet<string> = new Set(httpMethodSchema.options)

function isHttpMethod(method: string): method is HttpMethod {
  return httpMethods.has(method)
}

function operationsOf(
  path: string,
  pointer: string,
  pathItem: JsonObject,
  references: References,
  refusals: Refusal[],
): Listed[] {
  const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query']
  const standard = methods.flatMap((method) => {
    const value = own(pathItem, method)
    return value === undefined
      ? []
      : [{ method: method.toUpperCase(), value, at: pointerTo(pointer, method) }]
  })
  // OpenAPI 3.2: methods beyond the fixed ones.
  const additional = Object.entries(objectAt(pathItem, 'additionalOperations')).map(
    ([method, value]) => ({
      ...{ method, value, at: pointerTo(pointer, 'additionalOperations', method) },
    }),
  )
  return [...standard, ...additional].flatMap(({ method, value, at }) => {
    const place = { method, path, pointer: at }
    const operation = orRefusal(place, refusals, () => operationIn(value, references))
    if (operation === undefined) return []
    const tags = listAt(operation, 'tags').flatMap((tag) =>
      typeof tag === 'string' ? [line(tag, MAX_TAG)] : [],
    )
    if (isHttpMethod(method)) {
      return [{ method, path, pointer: at, pathItem, operation, tags }]
    }
    const shown = line(method, 30)
    refusals.push({
      path: at,
      operation: `${shown} ${line(path, 300)}`,
      message: `The method ${shown} is not one that a tool can send.`,
    })
    return []
  })
}

/** No version lets an operation be a reference, but documents that were split into files have them. */
function operationIn(value: unknown, references: References): JsonObject {
  const operation = references.follow(value)
  if (!isObject(operation)) throw new Refused('The operation is no object.')
  return operation
}

/** Runs `work`; a reason why the operation cannot become a tool is noted and answered by undefined. */
export function orRefusal<T>(
  { method, path, pointer }: { method: string; path: string; pointer: string },
  refusals: Refusal[],
  work: () => T,
): T | undefined {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Refused) && !(error instanceof ReferenceFault)) throw error
    refusals.push({
      path: pointer,
      operation: `${method} ${line(path, 300)}`,
      message: error.message,
    })
    return undefined
  }
}
