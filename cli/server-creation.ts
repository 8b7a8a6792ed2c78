/** From a document to a live server: draft, confirm, build; used by `servers create` and by the demo. */
import { creationAnswer, draftAnswer } from '@bmm/spec/rest-answer'
import { z } from 'zod'
import { ask } from './api.ts'
import { type Access, buildFault, followBuild, stepTimes } from './build-progress.ts'
import type { CredentialValue } from './credential-value.ts'
import { isAddress, readDocument, readText } from './document.ts'
import type { DocumentOptions } from './draft.ts'
import { misused } from './fault.ts'
import { bmm } from './hint.ts'

/** Where a server comes from: exactly one of a document and a spec written by hand. */
export type SourceOptions = Omit<DocumentOptions, 'openapi'> & { openapi?: string; spec?: string }

export type Creation = SourceOptions & {
  /** The data directory, for commands that are named. */
  data: string
  slug: string
  access: 'org' | 'anyone'
  credentials: CredentialValue[]
}

export type Created = {
  id: string
  slug: string
  version: number
  url: string
  tools: string[]
  /** Milliseconds of each step, in order. */
  elapsedMs: Record<string, number>
}

/** With as much of the spec as is told of it. */
const draftSchema = draftAnswer.extend({
  spec: z.looseObject({ tools: z.array(z.looseObject({ name: z.string() })) }),
})

/** Throws CommandFault with the build's own reason when it fails. */
export async function createServer(
  creation: Creation,
  access: Access,
  note: (line: string) => void,
): Promise<Created> {
  const { gateway, session } = access
  const { slug, credentials } = creation
  const startedAt = performance.now()
  const { path: draftPath, ...source } = sourceOf(creation)
  const draft = await ask(gateway, draftPath, draftSchema, { session, method: 'POST', ...source })
  const draftMs = since(startedAt)
  for (const { path, message, refused } of draft.warnings) {
    const place = path === '' ? '' : `${path}: `
    note(`${refused ? 'left out' : 'warning'}: ${place}${message}`)
  }
  note(`draft with ${draft.spec.tools.length} tools (${draftMs} ms)`)
  const { server, build } = await ask(gateway, '/v1/servers', creationAnswer, {
    session,
    method: 'POST',
    body: {
      ...{ draftId: draft.id, digest: draft.digest, slug, credentials },
      access: { kind: creation.access },
    },
    headers: { 'idempotency-key': crypto.randomUUID() },
  })
  const finished = await followBuild(build.id, access, note)
  if (finished.state !== 'succeeded') {
    const free = bmm(`servers delete ${slug} --yes`, creation.data)
    note(`${slug} never served, so its slug is free again after: ${free}`)
    throw buildFault(finished)
  }
  return {
    id: server.id,
    slug: server.slug,
    version: finished.version,
    url: server.url,
    tools: draft.spec.tools.map((tool) => tool.name),
    elapsedMs: { draft: draftMs, ...stepTimes(finished), total: since(startedAt) },
  }
}

type DraftRequest = { path: string } & ({ body: unknown } | { bytes: Uint8Array })

/** The request for a draft; files go as they are. Throws CommandFault where the options contradict each other. */
function sourceOf({ openapi, spec, baseUrl, name, only = [] }: SourceOptions): DraftRequest {
  if ((openapi === undefined) === (spec === undefined)) {
    throw misused('Give exactly one of --openapi and --spec.')
  }
  if (openapi === undefined) {
    if (baseUrl !== undefined || only.length > 0 || name !== undefined) {
      throw misused('--base-url, --name and --only read a document; with --spec, edit the spec.')
    }
    return { path: '/v1/drafts/upload?kind=spec', bytes: readSpec(spec ?? '') }
  }
  if (isAddress(openapi)) {
    const filter = only.length > 0 ? { only } : {}
    return { path: '/v1/drafts', body: { url: openapi, baseUrl, name, ...filter } }
  }
  const query = new URLSearchParams({ kind: 'document' })
  if (baseUrl !== undefined) query.set('baseUrl', baseUrl)
  if (name !== undefined) query.set('name', name)
  for (const part of only) query.append('only', part)
  return { path: `/v1/drafts/upload?${query}`, bytes: readDocument(openapi) }
}

function readSpec(path: string): Uint8Array {
  const text = readText(path)
  try {
    JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw misused(`${path} is not JSON, as a spec is. An OpenAPI document is given by --openapi.`)
  }
  return new TextEncoder().encode(text)
}

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}
