/** REST: drafts, from a document to a spec that can be looked at. */
import type { DraftService } from '@bmm/proto/generator/v1/generator_service'
import { Permission } from '@bmm/proto/v1/options'
import { draftAnswer } from '@bmm/spec/rest-answer'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import type { Arrivals } from '../arrival/arrival.ts'
import type { Room } from '../limits/room.ts'
import { problem } from '../problem.ts'
import { draftJson } from './answer.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'

/** A document of 32 MiB as a JSON text, in which many characters take two. */
const MAX_DRAFT_BODY_BYTES = 64 * 1024 * 1024
/** Of these there may be any number. */
const SMALL_BODY_BYTES = 1024 * 1024
const MAX_DOCUMENT_CHARACTERS = 32 * 1024 * 1024
/** Large documents come over slow lines. */
const UPLOAD_TIMEOUT_MS = 120_000
const DRAFT_TIMEOUT_MS = 60_000

const draftBody = z
  .strictObject({
    document: z
      .string()
      .min(1, 'The document is empty.')
      .max(MAX_DOCUMENT_CHARACTERS, 'The document has more than 32 MB.')
      .optional()
      .describe('An OpenAPI document, JSON or YAML, as text.'),
    url: z.url().max(2_000).optional().describe('Where to fetch the document.'),
    spec: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('A spec of your own instead of a document.'),
    baseUrl: z.string().max(2_000).optional().describe('Completes or replaces `servers`.'),
    name: z.string().max(120).optional(),
    only: z
      .array(z.string().min(1).max(500))
      .max(200)
      .optional()
      .describe('`tag:T`, `/path/*` or `GET /path`; absent for everything.'),
  })
  .refine(
    ({ document, url, spec }) =>
      [document, url, spec].filter((source) => source !== undefined).length === 1,
    'Give exactly one of document, url and spec.',
  )

export type DraftRoutesOptions = {
  drafts: Client<typeof DraftService>
  people: People
  arrivals: Arrivals
  /** What documents may take that are being sent or drafted. */
  documents: Room
}

export function draftRoutes(options: DraftRoutesOptions) {
  const { drafts, people } = options
  const admitted = new WeakMap<Request, CallOptions>()

  /** Before a byte of the body is read: strangers send none, and a person so much at a time. */
  async function admit({ request }: { request: Request }): Promise<void> {
    const { userId, as } = await people.known(request, ['generator'], {
      permissions: [Permission.SERVERS_WRITE],
    })
    admitted.set(request, as)
    const bytes = announcedBytes(request)
    if (bytes <= SMALL_BODY_BYTES) return
    const release = options.documents.reserve(userId, bytes)
    if (release === undefined) {
      throw problem(
        429,
        'too_many_documents',
        'Too many documents are being sent. Wait for one to be drafted.',
        { retryAfterSeconds: 2 },
      )
    }
    options.arrivals.of(request).onAnswered(release)
  }

  return new Elysia({ name: 'draft-routes', prefix: '/v1', normalize: false })
    .post(
      '/drafts',
      async ({ request, body, set }) => {
        const { baseUrl = '', name = '', only = [] } = body
        const answer = await drafts.createDraft(
          { source: sourceOf(body), baseUrl, name, only },
          { ...admitted.get(request), timeoutMs: DRAFT_TIMEOUT_MS },
        )
        set.status = 201
        return draftJson(answer.draft)
      },
      {
        parse: [
          admit,
          jsonBody({ limitBytes: MAX_DRAFT_BODY_BYTES, timeoutMs: UPLOAD_TIMEOUT_MS }),
        ],
        body: draftBody,
        response: { 201: draftAnswer },
        detail: { summary: 'Draft a spec from an OpenAPI document', tags: ['drafts'] },
      },
    )
    .get(
      '/drafts/:draft',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_READ],
        })
        return draftJson((await drafts.getDraft({ draftId: params.draft }, person)).draft)
      },
      {
        response: { 200: draftAnswer },
        detail: { summary: 'A draft, for 24 hours', tags: ['drafts'] },
      },
    )
}

function announcedBytes(request: Request): number {
  const length = request.headers.get('content-length')
  return length === null ? MAX_DRAFT_BODY_BYTES : Math.min(Number(length), MAX_DRAFT_BODY_BYTES)
}

function sourceOf({ document, url, spec }: z.infer<typeof draftBody>) {
  const encoder = new TextEncoder()
  if (document !== undefined) return { case: 'document' as const, value: encoder.encode(document) }
  if (url !== undefined) return { case: 'url' as const, value: url }
  return { case: 'spec' as const, value: encoder.encode(JSON.stringify(spec)) }
}
