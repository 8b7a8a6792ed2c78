/** The pure import: the text of an OpenAPI document becomes a draft of a server spec. */
import {
  type HttpMethod,
  type ServerSpec,
  SPEC_VERSION,
  type ToolSpec,
} from '@bmm/spec/server-spec'
import { operationFault } from '../draft/spec-consistency.ts'
import { type Asked, type Credentials, credentialsFor } from './credentials.ts'
import { type OpenApiDocument, readDocument } from './document.ts'
import { operationFilter } from './filter.ts'
import { ImportError } from './import-error.ts'
import { isObject, type JsonObject, objectAt, own, textAt } from './json.ts'
import { MAX_PATH, type Notice, type Notices, notices } from './notices.ts'
import { type Listed, listedOperations, orRefusal, type Refusal } from './operation-list.ts'
import { asksForAuthorization } from './parameter.ts'
import { line, prose } from './prose.ts'
import { type References, referencesOf } from './reference.ts'
import { Refused } from './refused.ts'
import { resolveIds } from './resource-id.ts'
import { authorizationScheme, type Demand, securitySchemes } from './security.ts'
import { apiServers } from './server-url.ts'
import { type Import, type ImportedTool, type Operation, toolFrom } from './tool.ts'
import { toolNames } from './tool-name.ts'

export type ImportOptions = {
  /** Where the API is: stands in for the document's own server, or completes a relative one. */
  baseUrl?: string | undefined
  /** Where the document was fetched from; relative servers are resolved against it. */
  documentUrl?: string | undefined
  /** Filters `tag:T`, `/path/*`, `GET /path`; an operation is taken when one of them matches. */
  only?: readonly string[] | undefined
  /** Name of the server; the document's title when absent. */
  name?: string | undefined
}

export type TagCount = { name: string; count: number }

export type Draft = {
  spec: ServerSpec
  warnings: Notice[]
  refusals: Refusal[]
  /** Tags of the drafted tools, most used first. */
  tags: TagCount[]
}

/** 200 tools of this size still fit the spec of one server. */
const MAX_TOOL_SCHEMA = 24_000
const MIN_TOOL_SCHEMA = 800
/** Shared by all tools of one draft, so that documents of 20,000 operations fit the child's memory. */
const MAX_ALL_SCHEMAS = 24_000_000
/** Tags that a message names, in characters. */
const MAX_TAGS_SHOWN = 300
const MAX_ORIGINS = 50
const MAX_DESCRIPTION = 1_500
const MAX_NAME = 120
const MAX_REFUSALS = 1_000

type EgressOperation = { method: HttpMethod; path: string; names: readonly string[] }
type Ready = { source: Operation; demand: Demand; tags: string[]; operationId: string | undefined }

/** A draft whose tools were handed over one by one. */
export type DraftHead = Omit<Draft, 'spec'> & { spec: Omit<ServerSpec, 'tools'> }

/** Throws ImportError when the document as a whole cannot be used. */
export function draftFromOpenApi(text: string, options: ImportOptions = {}): Draft {
  const tools: ToolSpec[] = []
  const head = draftInParts(readDocument(text), options, (tool) => tools.push(tool))
  return { ...head, spec: { ...head.spec, tools } }
}

/** As `draftFromOpenApi`, for documents whose tools should not lie in memory at once. */
export function draftInParts(
  document: OpenApiDocument,
  options: ImportOptions,
  keep: (tool: ToolSpec) => void,
): DraftHead {
  refuseBadOptions(options)
  const filter = operationFilter(options.only ?? [])
  if (document.hasIds) resolveIds(document.root, options.documentUrl)
  const references = referencesOf(document, options.documentUrl)
  const context: Import = { document, references, notices: notices() }
  if (document.isLatin === true) {
    context.notices.warn(
      '',
      'The document is not UTF-8 text. It was read as Latin-1 (Windows-1252): look whether its letters are right, and save it as UTF-8 where they are not.',
    )
  }
  for (const { path, line: at, firstLine } of document.writtenTwice) {
    context.notices.warn(
      path,
      `${line(path, MAX_PATH)} is written twice (lines ${firstLine} and ${at}): what stands in the first place was not read. Join the two.`,
    )
  }
  const refusals: Refusal[] = []
  const listed = listedOperations(context, refusals)
  if (listed.length === 0 && refusals.length === 0) {
    throw nothing('The document has no operations.', '/paths')
  }
  const wanted = listed.filter(filter)
  if (wanted.length === 0 && listed.length > 0) {
    throw nothing(
      `None of the ${listed.length} operations matches the filters. ${tagsSentence(listed)}`,
      '/paths',
    )
  }
  const ready = readyOperations(wanted, context, options, refusals)
  const credentials = credentialsFor(ready.map(askedBy), context.notices)
  if (credentials.list.length === 0 && ready.every(({ demand }) => demand.signing === undefined)) {
    context.notices.warn('', 'The document asks for no credential: calls go out without one.')
  }
  const { tags, egress } = makeTools(ready, credentials, context, refusals, keep)
  const first = refusals[0]
  if (egress.length === 0) {
    throw nothing(
      `No operation can become a tool. ${first?.message ?? ''}`.trim(),
      first?.path ?? '',
    )
  }
  const used = new Set(egress.map(({ origin }) => origin))
  return {
    spec: {
      specVersion: SPEC_VERSION,
      ...titles(document, options),
      credentials: credentials.list.filter(({ origins }) => origins.some((o) => used.has(o))),
      egress,
    },
    warnings: context.notices.list(),
    refusals: shortList(refusals),
    tags,
  }
}

function askedBy({ source, demand }: Ready): Asked {
  return { demand, origin: source.server.origin, pointer: source.pointer }
}

function makeTools(
  ready: readonly Ready[],
  credentials: Credentials,
  context: Import,
  refusals: Refusal[],
  keep: (tool: ToolSpec) => void,
): { tags: TagCount[]; egress: ServerSpec['egress'] } {
  const names = toolNames(
    ready.map(({ source: { method, path }, operationId }) => ({ operationId, method, path })),
  )
  const share = Math.floor(MAX_ALL_SCHEMAS / Math.max(1, ready.length))
  const bytes = Math.max(MIN_TOOL_SCHEMA, Math.min(MAX_TOOL_SCHEMA, share))
  const tags = new Map<string, number>()
  const egress = new Map<string, Map<string, EgressOperation>>()
  for (const [index, { source, tags: named }] of ready.entries()) {
    const sent = credentials.sentBy(source.pointer)
    const made = orRefusal(source, refusals, () =>
      sound(toolFrom(source, names[index] ?? '', sent, { bytes }, context), source.method),
    )
    if (made === undefined) continue
    keep(made.tool)
    for (const tag of named) tags.set(tag, (tags.get(tag) ?? 0) + 1)
    const operations = egress.get(made.origin) ?? new Map<string, EgressOperation>()
    const { method } = source
    const key = `${method} ${made.egressPath}`
    const known = operations.get(key)
    // Operations that differ in their query alone: the broker cannot tell them apart.
    if (known === undefined)
      operations.set(key, { method, path: made.egressPath, names: sent.names })
    else known.names = credentials.joined(known.names, sent.names)
    egress.set(made.origin, operations)
  }
  return {
    tags: [...tags].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count),
    egress: [...egress].map(([origin, map]) => ({
      origin,
      operations: [...map.values()].map(({ method, path, names }) => ({
        ...{ method, path },
        ...(credentials.areAll(names, origin) ? {} : { credentials: [...names] }),
      })),
    })),
  }
}

/** A build refuses the whole spec for one tool that would call what its server may not: it is refused here, alone. */
function sound(made: ImportedTool, method: HttpMethod): ImportedTool {
  const { origin, egressPath } = made
  const egress = new Map([[origin, { origin, operations: [{ method, path: egressPath }] }]])
  const fault = operationFault(made.tool, egress)
  if (fault !== undefined) throw new Refused(fault)
  return made
}

function refuseBadOptions({ baseUrl, documentUrl, name }: ImportOptions): void {
  for (const [url, what] of [
    [baseUrl, 'base URL'],
    [documentUrl, "document's URL"],
  ]) {
    if (url === undefined) continue
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new ImportError({
        code: 'bad_option',
        message: `The ${what} is not an absolute http or https URL.`,
      })
    }
  }
  if (name !== undefined && (line(name, MAX_NAME) === '' || name.length > MAX_NAME)) {
    throw new ImportError({
      code: 'bad_option',
      message: `The name has 1 to ${MAX_NAME} characters.`,
    })
  }
}

/** Servers and security are known for all operations before the first tool is built. */
function readyOperations(
  listed: readonly Listed[],
  { document, references, notices }: Import,
  options: ImportOptions,
  refusals: Refusal[],
): Ready[] {
  const schemes = securitySchemes(document, references)
  const servers = apiServers(document, options, notices)
  const origins = new Set<string>()
  return listed.flatMap((one) => {
    const { pathItem, operation, pointer } = one
    const ready = orRefusal(one, refusals, () => {
      if (Object.keys(objectAt(operation, 'callbacks')).length > 0) {
        notices.warn(pointer, 'Callbacks are calls to you, not to the API: they were left out.')
      }
      if (hasLinks(operation)) {
        notices.warn(pointer, 'Links between operations were left out.')
      }
      const server = servers.serverOf(pathItem, operation)
      if (origins.size >= MAX_ORIGINS && !origins.has(server.origin)) {
        throw new Refused(`The document names more than ${MAX_ORIGINS} hosts. Import a part of it.`)
      }
      origins.add(server.origin)
      const stated = schemes.demandOf(operation)
      const source: Operation = {
        method: one.method,
        path: one.path,
        pointer,
        pathItem,
        operation,
        server,
        signing: stated.signing,
      }
      const demand = withAuthorization(stated, source, references, notices)
      return { source, demand, tags: one.tags, operationId: textAt(operation, 'operationId') }
    })
    return ready === undefined ? [] : [ready]
  })
}

function hasLinks(operation: JsonObject): boolean {
  return Object.values(objectAt(operation, 'responses')).some(
    (response) => isObject(response) && own(response, 'links') !== undefined,
  )
}

/** Documents without security that ask for the Authorization header as a parameter mean a credential. */
function withAuthorization(
  demand: Demand,
  { pathItem, operation, pointer }: Operation,
  references: References,
  notices: Notices,
): Demand {
  if (demand.alternatives.length > 0 || demand.signing !== undefined) return demand
  if (!asksForAuthorization(pathItem, operation, references)) return demand
  notices.warn(
    pointer,
    'The Authorization header is asked for as a parameter; it became the credential AUTHORIZATION.',
  )
  return { alternatives: [[authorizationScheme]], optional: true, isStated: true }
}

function titles(
  document: OpenApiDocument,
  { name }: ImportOptions,
): Pick<ServerSpec, 'name' | 'description'> {
  const info = objectAt(document.root, 'info')
  const title = line(name ?? textAt(info, 'title') ?? '', MAX_NAME)
  const said = textAt(info, 'description') ?? textAt(info, 'summary') ?? ''
  return { name: title === '' ? 'Imported API' : title, description: prose(said, MAX_DESCRIPTION) }
}

function shortList(refusals: readonly Refusal[]): Refusal[] {
  const more = refusals.length - MAX_REFUSALS
  const shown = refusals
    .slice(0, MAX_REFUSALS)
    .map((refusal) => ({ ...refusal, path: line(refusal.path, MAX_PATH) }))
  if (more <= 0) return shown
  return [...shown, { path: '', message: `${more} more operations were refused.` }]
}

function nothing(message: string, path: string): ImportError {
  return new ImportError({ code: 'nothing_to_import', message, path })
}

function tagsSentence(listed: Listed[]): string {
  const tags = [...new Set(listed.flatMap((one) => one.tags))].join(', ')
  if (tags === '') return 'The document has no tags.'
  return tags.length > MAX_TAGS_SHOWN
    ? `Some of the tags: ${tags.slice(0, MAX_TAGS_SHOWN)}…`
    : `The tags are: ${tags}.`
}
