/** REST: drafts, from a document to a spec that can be looked at. */
import type { DraftService } from '@bmm/proto/generator/v1/generator_service'
import { Permission } from '@bmm/proto/v1/options'
import { draftAnswer } from '@bmm/spec/rest-answer'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import type { Arrivals } from '../arrival/arrival.ts'
import { announcedBytes, readBody } from '../arrival/body.ts'
import type { Room } from '../limits/room.ts'
import { problem } from '../problem.ts'
import { draftResponse } from './answer.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'

/** What is parsed here; larger documents are uploaded as they are. */
const MAX_DRAFT_BODY_BYTES = 16 * 1024 * 1024
const MAX_DRAFT_VALUES = 50_000
/** What the generator takes of each. */
const MAX_UPLOAD_BYTES = { document: 32 * 1024 * 1024, spec: 8 * 1024 * 1024 } as const
/** Of these there may be any number. */
const SMALL_BODY_BYTES = 1024 * 1024
/** Large documents come over slow lines. */
const UPLOAD_TIMEOUT_MS = 120_000
const DRAFT_TIMEOUT_MS = 60_000
const UPLOAD_PATH = '/drafts/upload'

const draftBody = z
  .strictObject({
    document: z
      .string()
      .min(1, 'The document is empty.')
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

const uploadQuery = z.strictObject({
  kind: z.enum(['document', 'spec']).default('document').describe('What the bytes are.'),
  baseUrl: z.string().max(2_000).optional().describe('Completes or replaces `servers`.'),
  name: z.string().max(120).optional(),
  only: z
    .union([z.string().min(1).max(500), z.array(z.string().min(1).max(500)).max(200)])
    .optional()
    .describe('`tag:T`, `/path/*` or `GET /path`; may be repeated; absent for everything.'),
})

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
    const { limitBytes, advice } = uploadRules(request)
    const { userId, as } = await people.known(request, ['generator'], {
      permissions: [Permission.SERVERS_WRITE],
    })
    admitted.set(request, as)
    const bytes = announcedBytes(request) ?? limitBytes
    if (bytes > limitBytes) throw problem(413, 'body_too_large', advice)
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
      async ({ request, body }) => {
        const { baseUrl = '', name = '', only = [] } = body
        const answer = await drafts.createDraft(
          { source: sourceOf(body), baseUrl, name, only },
          { ...admitted.get(request), timeoutMs: DRAFT_TIMEOUT_MS },
        )
        return draftResponse(answer.draft, 201)
      },
      {
        parse: [
          admit,
          jsonBody({
            limitBytes: MAX_DRAFT_BODY_BYTES,
            maxValues: MAX_DRAFT_VALUES,
            timeoutMs: UPLOAD_TIMEOUT_MS,
          }),
        ],
        body: draftBody,
        response: { 201: draftAnswer },
        detail: {
          summary: 'Draft a spec from an OpenAPI document',
          description: 'At most 16 MB and 50,000 keys and values; upload larger ones.',
          tags: ['drafts'],
        },
      },
    )
    .post(
      UPLOAD_PATH,
      async ({ request, body, query }) => {
        const { kind, baseUrl = '', name = '' } = query
        const only = new URL(request.url).searchParams.getAll('only')
        const value = body as Uint8Array
        if (value.length === 0) throw problem(400, 'document_invalid', `The ${kind} is empty.`)
        const answer = await drafts.createDraft(
          { source: { case: kind, value }, baseUrl, name, only },
          { ...admitted.get(request), timeoutMs: DRAFT_TIMEOUT_MS },
        )
        return draftResponse(answer.draft, 201)
      },
      {
        parse: [admit, uploadedBytes],
        query: uploadQuery,
        response: { 201: draftAnswer },
        detail: {
          summary: 'Draft a spec from the bytes of a document or spec',
          description:
            'The body is the file as it is, application/octet-stream: a document of at most 32 MB or a spec of at most 8 MB.',
          tags: ['drafts'],
        },
      },
    )
    .get(
      '/drafts/:draft',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator'], {
          permissions: [Permission.SERVERS_READ],
        })
        return draftResponse((await drafts.getDraft({ draftId: params.draft }, person)).draft)
      },
      {
        response: { 200: draftAnswer },
        detail: { summary: 'A draft, for 24 hours', tags: ['drafts'] },
      },
    )
}

/** How large the body may be, and what to do when it is larger. */
function uploadRules(request: Request): { limitBytes: number; advice: string } {
  const { pathname, searchParams } = new URL(request.url)
  if (!pathname.endsWith(UPLOAD_PATH)) {
    const advice = `A JSON body may have 16 MB. Send the file itself to POST /v1${UPLOAD_PATH}, as application/octet-stream.`
    return { limitBytes: MAX_DRAFT_BODY_BYTES, advice }
  }
  if (searchParams.get('kind') === 'spec') {
    return { limitBytes: MAX_UPLOAD_BYTES.spec, advice: 'The spec has more than 8 MB.' }
  }
  const advice = 'The document has more than 32 MB: import a part of the API.'
  return { limitBytes: MAX_UPLOAD_BYTES.document, advice }
}

/** Nothing is parsed here: a child of the generator reads it. */
function uploadedBytes({ request }: { request: Request }): Promise<Uint8Array> {
  const { limitBytes } = uploadRules(request)
  const mediaType = 'application/octet-stream'
  return readBody(request, { mediaType, limitBytes, timeoutMs: UPLOAD_TIMEOUT_MS })
}

function sourceOf({ document, url, spec }: z.infer<typeof draftBody>) {
  const encoder = new TextEncoder()
  if (document !== undefined) return { case: 'document' as const, value: encoder.encode(document) }
  if (url !== undefined) return { case: 'url' as const, value: url }
  return { case: 'spec' as const, value: encoder.encode(JSON.stringify(spec)) }
}
