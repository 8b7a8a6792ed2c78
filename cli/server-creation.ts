/** From a document to a live server: draft, confirm, build; used by `servers create` and by the demo. */
import { z } from 'zod'
import { ask, buildSchema, draftSchema, serverSchema } from './api.ts'
import { type Access, followBuild, stepTimes } from './build-progress.ts'
import type { CredentialValue } from './credential-value.ts'
import { isAddress, readDocument } from './document.ts'
import type { DocumentOptions } from './draft.ts'
import { failed } from './fault.ts'

export type Creation = DocumentOptions & { slug: string; credentials: CredentialValue[] }

export type Created = {
  id: string
  slug: string
  version: number
  url: string
  tools: string[]
  /** Milliseconds of each step, in order. */
  elapsedMs: Record<string, number>
}

const createdSchema = z.object({ server: serverSchema, build: buildSchema })

/** Throws CommandFault with the build's own reason when it fails. */
export async function createServer(
  creation: Creation,
  access: Access,
  note: (line: string) => void,
): Promise<Created> {
  const { gateway, session } = access
  const { openapi, baseUrl, name, only, slug, credentials } = creation
  const startedAt = performance.now()
  const draft = await ask(gateway, '/v1/drafts', draftSchema, {
    session,
    method: 'POST',
    body: {
      ...(isAddress(openapi) ? { url: openapi } : { document: readDocument(openapi) }),
      ...{ baseUrl, name, only },
    },
  })
  const draftMs = since(startedAt)
  for (const { path, message, refused } of draft.warnings) {
    note(`${refused ? 'left out' : 'warning'}: ${path}: ${message}`)
  }
  note(`draft with ${draft.spec.tools.length} tools (${draftMs} ms)`)
  const { server, build } = await ask(gateway, '/v1/servers', createdSchema, {
    session,
    method: 'POST',
    body: { draftId: draft.id, digest: draft.digest, slug, credentials },
    headers: { 'idempotency-key': crypto.randomUUID() },
  })
  const finished = await followBuild(build.id, access, note)
  if (finished.state !== 'succeeded') {
    throw failed(
      finished.reason === '' ? `build_${finished.state}` : finished.reason,
      `The build ${finished.state}: ${finished.message || 'without a message'} (./bmm builds show ${build.id})`,
    )
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

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt)
}
