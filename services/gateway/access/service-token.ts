/** Service tokens at the edge: who a program acts for, remembered for seconds, ended at once when revoked. */
import { createHash } from 'node:crypto'
import { limited, unauthenticated, unavailable } from '@bmm/lib/errors'
import { requireScope } from '@bmm/lib/rpc-rules'
import type { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import type { Permission } from '@bmm/proto/v1/options'
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import { type Client, Code, ConnectError } from '@connectrpc/connect'
import type { RateLimiter } from '../limits/rate-limit.ts'
import { type Audience, audienceServices } from './audience.ts'
import type { Revocations } from './revocation.ts'

/** How long an answer of `auth` is used again: the role of the person and the membership act within this time. */
const REMEMBER_MS = 4_000
const MAX_REMEMBERED = 5_000
const tokenPattern = /^bmm_[0-9A-Za-z]{49}$/

/** A program with a live service token. */
export type Program = {
  /** `tok_…`; what logs name. */
  tokenId: string
  userId: string
  orgId: string
  scopes: readonly string[]
  /** What whoever holds the token may know of it. */
  about: { email: string; orgName: string; role: string; name: string; expiresAtMs: number }
  /** For the audiences that were asked for. */
  userToken: string
  /** Milliseconds since 1970; of the user token, which never outlives the service token. */
  expiresAtMs: number
}

export type ProgramRequest = {
  /** `bmm_…`, as it came; empty when none came. */
  value: string
  /** Whom attempts without a good token are counted for (lib/visitor.ts). */
  visitor: string
  /** All of them are needed. */
  permissions: readonly Permission[]
  audiences: readonly Audience[]
  /** Of what the program confirms with this call. */
  confirmDigest?: string
}

export type ServiceTokens = {
  /**
   * The program behind a token that may do that now. Throws `token_missing`, `token_invalid`, `scope_missing`, `rate_limited`, and
   * `revocations_unknown` while nobody can say what was revoked.
   */
  admit(request: ProgramRequest): Promise<Program>
  /** Another user token for an admitted program, which confirms those bytes. */
  confirm(request: ProgramRequest & { confirmDigest: string }): Promise<Program>
}

export type ServiceTokensOptions = {
  tokens: Pick<Client<typeof ServiceTokenService>, 'exchangeServiceToken'>
  revocations: Pick<Revocations, 'standing'>
  /** Attempts without a good token, by visitor. */
  strangers: RateLimiter
  /** Requests by token. */
  rate: RateLimiter
  now?: () => number
}

type Remembered = { program: Program; until: number }

export function serviceTokens(options: ServiceTokensOptions): ServiceTokens {
  const { strangers, revocations, rate, now = Date.now } = options
  const remembered = new Map<string, Remembered>()
  const asking = new Map<string, Promise<Program>>()

  async function exchange(request: ProgramRequest): Promise<Program> {
    const { value, audiences, confirmDigest = '' } = request
    const answer = await options.tokens.exchangeServiceToken({
      ...{ value, confirmDigest },
      audiences: audiences.map((audience) => audienceServices[audience]),
    })
    const { tokenId, userId, orgId, scopes, userToken, expiresAt } = answer
    const millis = (time: Timestamp | undefined) => (time === undefined ? 0 : timestampMs(time))
    const about = {
      ...{ email: answer.userEmail, orgName: answer.orgName, role: answer.role },
      ...{ name: answer.tokenName, expiresAtMs: millis(answer.tokenExpiresAt) },
    }
    return { tokenId, userId, orgId, scopes, about, userToken, expiresAtMs: millis(expiresAt) }
  }

  /** One question a token at a time, however many of its calls wait for the answer. */
  async function recall(request: ProgramRequest): Promise<Program> {
    const key = keyOf(request)
    const known = remembered.get(key)
    if (known !== undefined && known.until > now()) return known.program
    const asked = asking.get(key) ?? exchange(request).finally(() => asking.delete(key))
    asking.set(key, asked)
    const program = await asked
    remembered.delete(key)
    const until = Math.min(now() + REMEMBER_MS, program.expiresAtMs)
    remembered.set(key, { program, until })
    if (remembered.size > MAX_REMEMBERED) forgetOldest(remembered)
    return program
  }

  /** Here, and only here, Unauthenticated is about the token. */
  async function known(
    request: ProgramRequest,
    ask: (request: ProgramRequest) => Promise<Program>,
  ): Promise<Program> {
    const wait = strangers(request.visitor, 'look')
    if (wait > 0) throw tooOften('Too many attempts without a good token.', wait)
    const refuse = () => {
      strangers(request.visitor)
      return request.value === ''
        ? unauthenticated('token_missing', 'This needs a service token: Bearer bmm_…')
        : unauthenticated('token_invalid', 'The service token is unknown, or has ended.')
    }
    if (!tokenPattern.test(request.value)) throw refuse()
    const program = await ask(request).catch((thrown: unknown) => {
      const isRefusal = thrown instanceof ConnectError && thrown.code === Code.Unauthenticated
      throw isRefusal ? refuse() : thrown
    })
    switch (await revocations.standing(program.tokenId)) {
      case 'good':
        for (const permission of request.permissions) requireScope(program.scopes, permission)
        return program
      case 'revoked':
        throw refuse()
      case 'unknown':
        throw unavailable(
          'revocations_unknown',
          'Revoked tokens cannot be told apart right now. Try again.',
          { retryAfterSeconds: 2 },
        )
    }
  }

  return {
    async admit(request) {
      const program = await known(request, request.confirmDigest === undefined ? recall : exchange)
      const wait = rate(program.tokenId)
      if (wait > 0) throw tooOften('Too many requests with this token.', wait)
      return program
    },
    confirm: (request) => known(request, exchange),
  }
}

function tooOften(sentence: string, retryAfterSeconds: number) {
  return limited('rate_limited', `${sentence} Wait a moment.`, { retryAfterSeconds })
}

/** Never the value itself: what is in memory opens nothing. */
function keyOf({ value, audiences }: ProgramRequest): string {
  return createHash('sha256').update(`${audiences.join()} ${value}`).digest('base64')
}

function forgetOldest(remembered: Map<string, unknown>): void {
  for (const key of remembered.keys()) {
    remembered.delete(key)
    return
  }
}
