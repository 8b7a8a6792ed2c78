/** Making drafts: hostile documents become shown bytes with notes, and are kept for 24 hours. */
import type { EgressPolicy } from '@bmm/lib/egress-policy'
import { errorFrom, invalid, limited } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import type { Log } from '@bmm/lib/log'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { digestOf } from '@bmm/spec/digest'
import { parseServerSpec, type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { CodeError, readSpecBytes, scanSpecBytes } from '../code/code.ts'
import type { StartChild } from '../disposable.ts'
import { importDocument } from '../openapi/import-document.ts'
import { ImportError } from '../openapi/import-error.ts'
import { cleanSpec } from '../scan/clean-spec.ts'
import type { Finding } from '../scan/finding.ts'
import { type DocumentSource, originFault, type PolicySource } from './document-source.ts'
import * as store from './draft-store.ts'
import { refusedTools, withoutTools } from './refused-tools.ts'

/** Of a document: a scan tells at most 100 findings. */
const MAX_SCANS = 20
const DRAFT_HOURS = 24
const KEPT_OF_ORG = { drafts: 50, bytes: 100 * 1024 * 1024 }
const MAX_NOTES = 1_000
const MAX_TAGS = 1_000
/** What one message between services carries, with room to spare. */
const MAX_DRAFT_BYTES = 40 * 1024 * 1024
/** Children at a time, drafts that may wait for one, and how many of all these one organisation has. */
const MAX_AT_ONCE = 2
const MAX_WAITING = 20
const MAX_OF_ORG = 4

export type DraftSource =
  | { kind: 'document'; document: Uint8Array }
  | { kind: 'url'; url: string }
  | { kind: 'spec'; spec: Uint8Array }

export type DraftWish = {
  source: DraftSource
  baseUrl: string
  only: readonly string[]
  name: string
}

export type Drafting = (
  user: UserClaims,
  wish: DraftWish,
  signal: AbortSignal,
) => Promise<store.DraftRow>

type Content = { spec: ServerSpec; notes: store.DraftNote[]; tags: store.DraftTag[] }

export type DraftingOptions = {
  sql: Sql
  fetchDocument: DocumentSource
  policyOf: PolicySource
  log: Log
  now: () => Date
  /** Where the children come from that read documents and specs. */
  startImportChild: StartChild
  startCodeChild: StartChild
}

type Children = Pick<DraftingOptions, 'startImportChild' | 'startCodeChild'>

/** Throws `document_invalid`, `document_too_large`, `nothing_selected`, `option_invalid`, `spec_invalid`, `fetch_refused`, `fetch_failed`, `too_many_drafts`. */
export function drafting(options: DraftingOptions): Drafting {
  const { sql, log, now } = options
  const turn = turnstile(MAX_AT_ONCE, MAX_WAITING, MAX_OF_ORG)
  return async (user, wish, signal) => {
    const { spec, notes, tags } = await turn(user.orgId, async () => {
      signal.throwIfAborted()
      return wish.source.kind === 'spec'
        ? fromSpec(wish.source.spec, signal, options)
        : fromDocument(wish, user.orgId, signal, options)
    })
    const scanning = { signal, log, start: options.startCodeChild }
    const [scanned, policy] = await Promise.all([
      turn(user.orgId, () => scannedContent(spec, scanning, wish.source.kind !== 'spec')),
      reachableBy(user.orgId, signal, options),
    ])
    const { bytes, shown } = scanned
    const unreachable = policy === undefined ? [] : unreachableOrigins(shown, policy)
    const draft: store.DraftRow = {
      id: newId('dft'),
      orgId: user.orgId,
      createdBy: user.userId,
      name: shown.name,
      tools: shown.tools.length,
      spec: bytes,
      specDigest: digestOf(bytes),
      notes: [...unreachable, ...scanned.notes, ...notes].slice(0, MAX_NOTES),
      tags: tags.slice(0, MAX_TAGS),
      expiresAt: new Date(now().getTime() + DRAFT_HOURS * 3_600_000),
    }
    await inTransaction(sql, async (transaction) => {
      await store.insertDraft(transaction, draft)
      await store.trimDrafts(transaction, user.orgId, KEPT_OF_ORG)
    })
    return draft
  }
}

async function fromDocument(
  wish: DraftWish,
  orgId: string,
  signal: AbortSignal,
  { fetchDocument, startImportChild }: DraftingOptions,
): Promise<Content> {
  const fetched =
    wish.source.kind === 'url' ? await fetchDocument(wish.source.url, orgId, signal) : undefined
  const document =
    fetched?.document ?? (wish.source.kind === 'document' ? wish.source.document : new Uint8Array())
  try {
    const options = {
      documentUrl: fetched?.url,
      baseUrl: wish.baseUrl === '' ? undefined : wish.baseUrl,
      name: wish.name === '' ? undefined : wish.name,
      only: wish.only.length === 0 ? undefined : wish.only,
    }
    const draft = await importDocument(document, options, { start: startImportChild })
    return {
      spec: draft.spec,
      notes: [
        ...draft.refusals.map(({ path, operation, message }) => ({
          refused: true,
          path,
          message: operation === undefined ? message : `${operation}: ${message}`,
        })),
        ...draft.warnings.map(({ path, message }) => warning(path, message)),
      ],
      tags: draft.tags.map(({ name, count }) => ({ name, tools: count })),
    }
  } catch (error) {
    throw error instanceof ImportError ? importFault(error) : error
  }
}

async function fromSpec(
  bytes: Uint8Array,
  signal: AbortSignal,
  { startCodeChild: start }: Children,
): Promise<Content> {
  try {
    const read = await readSpecBytes(bytes, { signal, start })
    const notes = read.warnings.map(({ path, message }) => warning(path, message))
    return { spec: parseServerSpec(read.bytes), notes, tags: [] }
  } catch (error) {
    if (!(error instanceof CodeError)) throw error
    const { path, message } = error
    throw invalid('spec_invalid', message, { fields: [{ path, message }] })
  }
}

type Scanning = { signal: AbortSignal; log: Log; start: StartChild }
type Scanned = { bytes: Uint8Array; shown: ServerSpec; notes: store.DraftNote[] }

/**
 * The bytes to show, without invisible characters, and what a build would be refused for, told early. Of a document the
 * tools that a build would refuse are left out, each with its reason: one of them must not cost the others.
 */
async function scannedContent(
  spec: ServerSpec,
  scanning: Scanning,
  isImported: boolean,
): Promise<Scanned> {
  const notes: store.DraftNote[] = []
  let shown = spec
  for (let round = 1; ; round += 1) {
    const bytes = boundedBytes(shown)
    const findings = await findingsIn(bytes, scanning)
    const cleaned = findings.some(isCleanable) ? cleanSpec(shown) : undefined
    if (cleaned !== undefined && cleaned.changed > 0) {
      shown = cleaned.spec
      notes.push(
        warning('', `Invisible or control characters were taken out of ${cleaned.changed} texts.`),
      )
      continue
    }
    const refused =
      isImported && round <= MAX_SCANS ? refusedTools(shown, findings) : new Map<number, string>()
    if (refused.size === 0 || refused.size === shown.tools.length) {
      return { bytes, shown, notes: [...notes, ...findings.map((each) => noteOf(shown, each))] }
    }
    for (const [index, message] of refused) {
      const { name } = shown.tools[index] ?? { name: '' }
      notes.push({ refused: true, path: '', message: `The tool ${name} was left out: ${message}` })
    }
    shown = withoutTools(shown, refused)
  }
}

function isCleanable({ rule }: NoteFinding): boolean {
  return rule === 'hidden_unicode' || rule === 'control_character'
}

function boundedBytes(spec: ServerSpec): Uint8Array {
  const bytes = serverSpecBytes(spec)
  if (bytes.length <= MAX_DRAFT_BYTES) return bytes
  throw invalid('document_too_large', 'The draft is too large. Choose a part of the API.')
}

/** Undefined when nobody can say: a draft is made without. */
async function reachableBy(
  orgId: string,
  signal: AbortSignal,
  { policyOf, log }: DraftingOptions,
): Promise<EgressPolicy | undefined> {
  try {
    return await policyOf(orgId, signal)
  } catch (error) {
    signal.throwIfAborted()
    log.warn({ err: errorFrom(error) }, 'a draft was made without asking what may be reached')
    return undefined
  }
}

/** Told here, because the first call is a late moment to learn that the operator has to allow something. */
function unreachableOrigins({ egress }: ServerSpec, policy: EgressPolicy): store.DraftNote[] {
  const faults = egress.map(({ origin }) => originFault(origin, policy))
  return faults.filter((fault) => fault !== undefined).map((fault) => warning('', fault))
}

type NoteFinding = Pick<Finding, 'path' | 'message'> & { rule?: Finding['rule'] }

/** A scan that fails is told as well: the build scans again. */
async function findingsIn(
  bytes: Uint8Array,
  { log, ...children }: Scanning,
): Promise<readonly NoteFinding[]> {
  try {
    return await scanSpecBytes(bytes, children)
  } catch (error) {
    if (!(error instanceof CodeError)) throw error
    log.warn({ fault: error.message }, 'a draft could not be scanned')
    return [{ path: error.path, message: error.message }]
  }
}

function noteOf(spec: ServerSpec, { path, message }: NoteFinding): store.DraftNote {
  return warning('', `${placeIn(spec, path)} would be refused: ${message}`.trim())
}

/** `/tools/3/description` as people say it. */
function placeIn(spec: ServerSpec, path: string): string {
  const [, index, rest] = /^\/tools\/(\d+)\/(.*)$/.exec(path) ?? []
  const tool = index === undefined ? undefined : spec.tools[Number(index)]
  if (tool !== undefined) return `Tool ${tool.name}, ${rest}:`
  return path === '' ? 'The draft' : path
}

function warning(path: string, message: string): store.DraftNote {
  return { refused: false, path, message }
}

function importFault(error: ImportError) {
  const { code, message, path, line, column } = error
  const isPlaced = line === undefined || message.includes(`line ${line}`)
  const place = isPlaced ? '' : ` (line ${line}, column ${column ?? 1})`
  const fields = path === undefined ? [] : [{ path, message }]
  return invalid(reasons[code], `${message}${place}`, { fields })
}

const reasons = {
  document_empty: 'document_invalid',
  document_malformed: 'document_invalid',
  not_openapi: 'document_invalid',
  import_failed: 'document_invalid',
  document_too_large: 'document_too_large',
  nothing_to_import: 'nothing_selected',
  bad_option: 'option_invalid',
} as const

/** Lets a few through at a time, a few more wait, and turns the rest away; nobody takes all places. */
function turnstile(atOnce: number, waiting: number, ofOrg: number) {
  let inside = 0
  const queue: (() => void)[] = []
  const places = new Map<string, number>()
  return async <Result>(orgId: string, work: () => Promise<Result>): Promise<Result> => {
    const taken = places.get(orgId) ?? 0
    if (taken >= ofOrg || (inside >= atOnce && queue.length >= waiting)) {
      throw limited('too_many_drafts', 'Many drafts are being made. Try again in a moment.', {
        retryAfterSeconds: 5,
      })
    }
    places.set(orgId, taken + 1)
    if (inside >= atOnce) await new Promise<void>((resolve) => queue.push(resolve))
    else inside++
    try {
      return await work()
    } finally {
      const left = (places.get(orgId) ?? 1) - 1
      if (left === 0) places.delete(orgId)
      else places.set(orgId, left)
      const next = queue.shift()
      if (next === undefined) inside--
      else next()
    }
  }
}
