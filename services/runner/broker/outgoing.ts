/** One request of a sandbox on its way out: contract, policy, credentials, exchange, search of the answer. */
import { type EgressAnswer, type EgressLimits, egressFetch } from '@bmm/lib/egress'
import { destinationOf, EgressError, type EgressPolicy } from '@bmm/lib/egress-policy'
import type { EgressPool } from '@bmm/lib/egress-pool'
import {
  BindingError,
  type Credential,
  credentialsFor,
  type Header,
  withCredentials,
  withoutOwnCredentials,
} from './binding.ts'
import type { Contract } from './contract.ts'
import type { OperationRules } from './operation-match.ts'
import type { Scrubber } from './scrub.ts'
import { type Vault, VaultError } from './vault.ts'

/** What a sandbox asks for. */
export type Ask = {
  method: string
  url: string
  headers: readonly Header[]
  body: Uint8Array | undefined
}

/** Whose sandbox asks, under which contract. */
export type Assignment = {
  contract: Contract
  userId: string
  /** Kept connections of this sandbox, of nobody else. */
  poolKey: string
}

/** What the sandbox gets. */
export type Answer = EgressAnswer & {
  /** Names of cookies that were withheld: a server with a credential here gets no second one. */
  droppedCookies?: readonly string[]
}

/** Nothing comes back but this; the sentence is for the tool and its people. */
export class FetchFailure extends Error {
  override readonly name = 'FetchFailure'

  constructor(
    readonly code: string,
    message: string,
    readonly host: string,
    /** Refused by a rule, as opposed to failed on the way: such requests are recorded. */
    readonly isRefusal: boolean,
  ) {
    super(message)
  }
}

export type Outgoing = {
  /** Carries out one request. Throws FetchFailure and nothing else. */
  send(
    ask: Ask,
    assignment: Assignment,
    control: { signal: AbortSignal; reserve: (bytes: number) => boolean },
  ): Promise<Answer>
}

export type OutgoingOptions = {
  vault: Vault
  pool: EgressPool
  policyFor: (orgId: string) => EgressPolicy
  isCurrent: (contract: Contract) => boolean
  limits?: Partial<EgressLimits>
}

type Prepared = {
  url: URL
  headers: readonly Header[]
  /** Present when a credential was put in: finds it in the answer. */
  guard: Scrubber | undefined
}

const MAX_COOKIE_NAME = 100
/** What APIs answer to a credential that they do not take. */
const refusedStatuses: ReadonlySet<number> = new Set([401, 403])

export function createOutgoing(options: OutgoingOptions): Outgoing {
  return {
    async send(ask, assignment, control) {
      const { contract, poolKey } = assignment
      const host = hostOf(ask.url)
      try {
        if (!options.isCurrent(contract)) throw superseded(host)
        const policy = options.policyFor(contract.statement.orgId)
        const rule = ruleFor(ask, contract)
        const { isTarget } = destinationOf(ask.url, policy)
        const { url, headers, guard } = await prepared(ask, assignment, {
          rule,
          vault: options.vault,
          isTarget,
        })
        const answer = await egressFetch(url, {
          ...{ method: ask.method, headers, policy },
          ...(ask.body === undefined ? {} : { body: ask.body }),
          ...(options.limits === undefined ? {} : { limits: options.limits }),
          ...control,
          connections: { pool: options.pool, key: poolKey },
          isCredentialed: guard !== undefined,
          takesStreams: true,
        })
        if (guard === undefined) return answer
        if (refusedStatuses.has(answer.status)) options.vault.doubt(contract)
        return await guarded(answer, guard, host)
      } catch (error) {
        throw failureFrom(error, host)
      }
    },
  }
}

/** The origin, and where it lists operations the method and path, must stand in the signed statement. */
function ruleFor(ask: Ask, { rules }: Contract): OperationRules {
  const url = URL.parse(ask.url)
  if (url === null) throw new EgressError('url_invalid', 'The URL is not a valid absolute URL.', '')
  const rule = rules.get(url.origin)
  if (rule === undefined) {
    throw new FetchFailure(
      'origin_not_allowed',
      `This server may not talk to ${url.origin}: its spec does not list it under egress. Only a new server, of a spec that does, may.`,
      url.hostname,
      true,
    )
  }
  if (rule.allows(ask.method.toUpperCase(), url.pathname)) return rule
  throw new FetchFailure(
    'operation_not_allowed',
    `This server may talk to ${url.origin}, but not with this method and path.${slashHint(url.pathname)}`,
    url.hostname,
    true,
  )
}

/** What most often is meant by a path that holds an encoded slash. */
function slashHint(pathname: string): string {
  return /%(?:25)*(?:2f|5c)/i.test(pathname)
    ? ' A value in the path holds a slash (as %2F), and this operation takes a value without one there. Give it without the slash; where the API needs it, its document must say that the value spans segments.'
    : ''
}

async function prepared(
  ask: Ask,
  { contract }: Assignment,
  { rule, vault, isTarget }: { rule: OperationRules; vault: Vault; isTarget: boolean },
): Promise<Prepared> {
  const asked = { url: new URL(ask.url), headers: ask.headers }
  const credentials = credentialsFor(contract.statement.credentials, asked.url.origin)
  if (credentials.length === 0) return { ...asked, guard: undefined }
  const wanted = rule.credentialsOf(ask.method.toUpperCase(), asked.url.pathname)
  const sent = credentials.filter(({ name }) => wanted?.includes(name) ?? true)
  const names = credentials.map(({ name }) => name)
  const { byName, scrubber } = await vault.secretsOf(contract, names)
  const bare = sent.length === 0 ? asked : withoutOwnCredentials(asked, sent)
  const put = withCredentials(bare, sent, byName, howToSet(contract))
  if (!isTarget && sent.some(({ name }) => byName.has(name))) checkTransport(asked.url, sent)
  // A public operation may show what another one was sent, so its answers are searched, too.
  return { ...put, guard: names.some((name) => byName.has(name)) ? scrubber : undefined }
}

/** On the open internet a credential travels encrypted or not at all. */
function checkTransport(url: URL, credentials: readonly Credential[]): void {
  if (url.protocol === 'https:') return
  const names = credentials.map(({ name }) => name).join(', ')
  throw new BindingError(
    'credential_needs_https',
    `${url.origin} is not encrypted, so the credential ${names} is not sent there. Use https.`,
  )
}

function howToSet({ statement }: Contract): (name: string) => string {
  const slug = /\/s\/([^/]+)\/mcp$/.exec(statement.resourceUrl)?.[1] ?? statement.serverId
  return (name) => `Set it with: ./bmm credentials set ${slug} ${name}=-`
}

/** Cookies of a credentialed origin stand for the credential: code could not send them back, and must not keep them. */
async function guarded(answer: EgressAnswer, guard: Scrubber, host: string): Promise<Answer> {
  const headers = answer.headers.filter(([name]) => name !== 'set-cookie')
  if (!(await guard.finds(answer))) {
    const cookies = answer.headers.filter(([name]) => name === 'set-cookie')
    if (cookies.length === 0) return { ...answer, headers }
    const droppedCookies = cookies.map(([, value]) => nameOfCookie(value))
    return { ...answer, headers, droppedCookies }
  }
  throw new FetchFailure(
    'secret_in_answer',
    `The answer of ${host} held a credential of this server and was withheld.`,
    host,
    true,
  )
}

function nameOfCookie(setCookie: string): string {
  return setCookie.split('=', 1)[0]?.trim().slice(0, MAX_COOKIE_NAME) ?? ''
}

function superseded(host: string): FetchFailure {
  const message = 'This version of the server has been replaced.'
  return new FetchFailure('statement_superseded', message, host, true)
}

function failureFrom(error: unknown, host: string): FetchFailure {
  if (error instanceof FetchFailure) return error
  if (error instanceof EgressError) {
    return new FetchFailure(error.code, error.message, error.host || host, error.isRefusal)
  }
  if (error instanceof BindingError) return new FetchFailure(error.code, error.message, host, true)
  if (error instanceof VaultError) return new FetchFailure(error.code, error.message, host, false)
  throw error
}

function hostOf(url: string): string {
  return URL.parse(url)?.hostname.replace(/^\[|\]$/g, '') ?? ''
}
