/** The interceptors of every service: access rule, validation, and errors that leak nothing. */

import { allow, Permission, Service } from '@bmm/proto/v1/options'
import type { DescMethod, Message } from '@bufbuild/protobuf'
import { getOption } from '@bufbuild/protobuf'
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt'
import { createValidator, type ValidationError } from '@bufbuild/protovalidate'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { denied, errorFrom, invalid, isDeliberate, unauthenticated, unavailable } from './errors.ts'
import { callerKey, type Identity, type ServiceName, USER_HEADER } from './identity.ts'
import type { Log } from './log.ts'
import { isOutage } from './outage.ts'
import { roleHas, scopeFor, scopesHave } from './permission.ts'

export const REQUEST_ID_HEADER = 'bmm-request-id'
const MAX_REQUEST_ID = 64
const OUTAGE_RETRY_SECONDS = 2
/** SQLSTATE for text with a NUL, in a value and in JSON: Postgres cannot hold it, so it is looked for nowhere else. */
const nulStates = new Set(['22021', '22P05'])

/** `/bmm.secrets.v1.SecretsService/PutSecret`: what the `mtd` claim names. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`
}

/** Whether a repetition is harmless, by the RPC's own declaration. */
export function isReadOnly(method: DescMethod): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
}

export type AccessRule = {
  callers: ServiceName[]
  permission: Permission
  /** Whether strangers may call it through the gateway's gRPC port, with a service token. */
  external: boolean
  /** Further services that see the person's token behind an external call. */
  forwardsTo: ServiceName[]
}

/** What an RPC's `allow` option says. */
export function accessRule(method: DescMethod): AccessRule {
  const rule = getOption(method, allow)
  return {
    callers: rule.callers.map(serviceName),
    permission: rule.permission,
    external: rule.external,
    forwardsTo: rule.forwardsTo.map(serviceName),
  }
}

/**
 * Refuses every caller that the RPC's option does not name, every person whose role lacks the permission, and every
 * service token whose scopes lack it; an RPC that names no permission takes no service token at all.
 */
export function accessInterceptor(identity: Identity): Interceptor {
  return (next) => async (request) => {
    const { callers, permission } = accessRule(request.method)
    const bearer = /^Bearer (.+)$/.exec(request.header.get('authorization') ?? '')?.[1]
    if (bearer === undefined) {
      throw unauthenticated(
        'service_token_missing',
        'Calls between services carry a service token.',
      )
    }
    const service = await identity.verify(bearer, methodPath(request.method), {
      once: !isReadOnly(request.method),
    })
    if (!callers.includes(service)) {
      throw denied('caller_not_allowed', `The service ${service} may not call this.`)
    }
    const userToken = request.header.get(USER_HEADER)
    const user = userToken === null ? undefined : await identity.verifyUser(userToken)
    if (permission !== Permission.UNSPECIFIED) {
      if (user === undefined) {
        throw unauthenticated('user_required', 'This call needs a signed-in person.')
      }
      if (!roleHas(user.role, permission)) {
        throw denied('permission_missing', `The role ${user.role} does not permit this.`)
      }
    }
    if (user?.scopes !== undefined) requireScope(user.scopes, permission)
    request.contextValues.set(callerKey, user === undefined ? { service } : { service, user })
    return next(request)
  }
}

/** Throws `scope_missing` unless a service token with these scopes may do that. */
export function requireScope(scopes: readonly string[], permission: Permission): void {
  if (scopesHave(scopes, permission)) return
  const needed = scopeFor(permission)
  throw denied(
    'scope_missing',
    needed === undefined
      ? 'Service tokens are not taken here: sign in.'
      : `The service token lacks the scope ${needed}. Make one that has it.`,
  )
}

// Every pattern in the contracts is our own, so the platform's engine is safe here and 1 MB smaller.
const validator = createValidator({
  regexMatch: (pattern, against) => new RegExp(pattern, 'u').test(against),
})

/** Checks the request message against its protovalidate rules. */
export function validationInterceptor(): Interceptor {
  return (next) => async (request) => {
    if (!request.stream) {
      check(request.method, request.message)
      return next(request)
    }
    const { message, method } = request
    return next({ ...request, message: checkedStream(method, message) })
  }
}

/** Compiles the rules of a message type ahead of the first call (0.5 s in all otherwise). */
export function warmValidation(
  methods: Iterable<DescMethod>,
  create: (method: DescMethod) => Message,
) {
  for (const method of methods) validator.validate(method.input, create(method))
}

/**
 * Passes deliberate errors on; a store that cannot be reached is `store_unavailable`. Logs anything else once and
 * answers `internal_error` with the request id.
 */
export function errorInterceptor(log: Log): Interceptor {
  return (next) => async (request) => {
    const requestId = requestIdOf(request.header)
    const masked = (thrown: unknown) =>
      request.signal.aborted && errorFrom(thrown).name === 'AbortError'
        ? new ConnectError('The caller went away.', Code.Canceled)
        : maskedError(thrown, log, methodPath(request.method), requestId)
    try {
      const response = await next(request)
      if (!response.stream) return response
      return { ...response, message: guardedStream(response.message, masked) }
    } catch (thrown) {
      throw masked(thrown)
    }
  }
}

/** The caller's request id when it is well formed, else a new one. */
function requestIdOf(header: Headers): string {
  const given = header.get(REQUEST_ID_HEADER) ?? ''
  return /^[A-Za-z0-9_-]+$/.test(given) && given.length <= MAX_REQUEST_ID
    ? given
    : crypto.randomUUID()
}

function maskedError(thrown: unknown, log: Log, method: string, requestId: string): ConnectError {
  if (isDeliberate(thrown)) return thrown
  const passing = [Code.Canceled, Code.DeadlineExceeded, Code.Unavailable, Code.Unimplemented]
  if (thrown instanceof ConnectError && passing.includes(thrown.code)) return thrown
  if (thrown instanceof Error && 'code' in thrown && nulStates.has(String(thrown.code))) {
    return invalid('invalid_request', 'The request has text with a NUL character.')
  }
  if (isOutage(thrown)) {
    log.warn({ fault: errorFrom(thrown).message, method, requestId }, 'a store does not answer')
    return unavailable(
      'store_unavailable',
      'The database does not answer, or has no room. Try again in a moment.',
      {
        retryAfterSeconds: OUTAGE_RETRY_SECONDS,
      },
    )
  }
  log.error({ err: errorFrom(thrown), method, requestId }, 'an RPC failed unexpectedly')
  return new ConnectError(`internal error (request ${requestId})`, Code.Internal)
}

function check(method: DescMethod, message: Message): void {
  const result = validator.validate(method.input, message)
  if (result.kind === 'valid') return
  if (result.kind === 'error') throw result.error
  const fields = violations(result.error)
  const first = fields[0]
  const { path = 'request', message: fault = 'is invalid' } = first ?? {}
  throw invalid('invalid_request', sentenceOf(fault) ?? `${path}: ${fault}`, { fields })
}

function violations(error: ValidationError) {
  return error.violations.map((violation) => ({
    path: violation.field.map((part) => ('name' in part ? part.name : `${part.kind}`)).join('.'),
    message: inWords(violation.message),
  }))
}

const NOT_A_NAME = 'is not in UPPER_SNAKE_CASE'
const notAnId = /^is not an id of the form ([a-z]{3})_…$/
/** What ids begin with that people see, and what they name. */
const idNouns: Readonly<Record<string, string>> = {
  srv: 'a server',
  bld: 'a build',
  dft: 'a draft',
  tok: 'a service token',
  org: 'an organisation',
}

/** The validator answers a malformed id or name with a regular expression. */
function inWords(message: string): string {
  const pattern = /regex pattern `\^\(?(.*)`/.exec(message)?.[1] ?? ''
  if (pattern.startsWith('[A-Z][A-Z0-9_]')) return NOT_A_NAME
  if (pattern.startsWith('sha256:')) return 'is not a digest of the form sha256:…'
  const prefix = /^([a-z]{3})_/.exec(pattern)?.[1]
  return prefix === undefined ? message : `is not an id of the form ${prefix}_…`
}

/** For those who never saw the field: they gave one id or name, and not a message. */
function sentenceOf(fault: string): string | undefined {
  if (fault === NOT_A_NAME) {
    return 'The name of a credential is written in UPPER_SNAKE_CASE, such as API_KEY.'
  }
  const prefix = notAnId.exec(fault)?.[1] ?? ''
  const noun = idNouns[prefix]
  return noun === undefined
    ? undefined
    : `That is not the id of ${noun}: those begin with ${prefix}_.`
}

async function* checkedStream(method: DescMethod, messages: AsyncIterable<Message>) {
  for await (const message of messages) {
    check(method, message)
    yield message
  }
}

async function* guardedStream(
  messages: AsyncIterable<Message>,
  masked: (thrown: unknown) => ConnectError,
) {
  try {
    yield* messages
  } catch (thrown) {
    throw masked(thrown)
  }
}

/** The name in tokens of a service of the contracts. */
export function serviceName(service: Service): ServiceName {
  switch (service) {
    case Service.AUTH:
      return 'auth'
    case Service.SECRETS:
      return 'secrets'
    case Service.GENERATOR:
      return 'generator'
    case Service.RUNNER:
      return 'runner'
    case Service.BROKER:
      return 'broker'
    case Service.KEEPER:
      return 'keeper'
    case Service.GATEWAY:
      return 'gateway'
    case Service.OPERATOR:
      return 'operator'
    case Service.UNSPECIFIED:
      throw new Error('an allow option names SERVICE_UNSPECIFIED')
    default:
      return service satisfies never
  }
}
