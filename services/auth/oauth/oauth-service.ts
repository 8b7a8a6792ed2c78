/** The RPCs of the authorization server: who calls, decode, domain, encode. */
import type { Sql } from '@bmm/lib/sql'
import type { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { type Revoker, revocationsAfter } from '../revocation.ts'
import type { SigningKeys } from '../signing-keys.ts'
import { decideConsent, startAuthorization } from './consent.ts'
import { OAuthError } from './oauth-error.ts'
import { parametersFrom } from './parameters.ts'
import { redirectTarget } from './redirect-uri.ts'
import { registerClient } from './registration.ts'
import { exchangeToken } from './token-exchange.ts'
import { introspectToken, revokeToken } from './token-state.ts'

export type OAuthServiceOptions = {
  sql: Sql
  /** The `iss` of everything: the public origin, never changed. */
  issuer: string
  keys: SigningKeys
  successorKey: Buffer
  revoker: Revoker
  now: () => number
}

const OK = 200
const CREATED = 201

// The `allow` options name the callers: gateway, generator for endServerGrants, operator for the key.
export function oauthService(options: OAuthServiceOptions): ServiceImpl<typeof OAuthService> {
  const { sql, keys, revoker, now } = options
  return {
    registerClient: (request) =>
      orFault(async () => answer(CREATED, await registerClient(options, request))),

    startAuthorization: (request) =>
      orFault(async () => {
        const { resource, sessionToken } = request
        const parameters = parametersFrom(request.parameters)
        const outcome = await startAuthorization(options, parameters, resource, sessionToken)
        switch (outcome.kind) {
          case 'login':
            return { outcome: { case: 'login', value: { clientName: outcome.clientName } } }
          case 'consent':
            return { outcome: { case: 'consent', value: withResource(outcome.page, resource) } }
          case 'redirect':
            return { outcome: { case: 'redirectUrl', value: outcome.url } }
          default:
            return outcome satisfies never
        }
      }),

    decideConsent: (request) =>
      orFault(async () => {
        const url = await decideConsent(options, { ...request, resource: request.resource })
        return { outcome: { case: 'redirectUrl', value: url } }
      }),

    exchangeToken: (request) =>
      orFault(async () => {
        const parameters = parametersFrom(request.parameters)
        const { authorization, resource } = request
        const outcome = await exchangeToken(options, parameters, authorization, resource)
        if (outcome.kind === 'tokens') return answer(OK, outcome.answer)
        return { outcome: { case: 'resourceNeeded', value: { serverId: outcome.serverId } } }
      }),

    async revokeToken(request) {
      try {
        await revokeToken(options, parametersFrom(request.parameters), request.authorization)
        return {}
      } catch (thrown) {
        return { fault: faultOf(thrown) }
      }
    },

    introspectToken: (request) =>
      orFault(async () => {
        const parameters = parametersFrom(request.parameters)
        return answer(OK, await introspectToken(options, parameters, request.authorization))
      }),

    async getJwks() {
      return { jwks: jsonBytes(await keys.jwks()) }
    },
    async listRevocations({ after }) {
      const { revocations, cursor } = await revocationsAfter(sql, after, now())
      return {
        revocations: revocations.map(({ grantId, revokedAt }) => ({
          grantId,
          revokedAt: timestampFromDate(revokedAt),
        })),
        cursor,
      }
    },
    async endServerGrants({ serverId }) {
      return { ended: await revoker.end({ serverId }, 'server stopped') }
    },
    async rotateSigningKey() {
      return { keyId: await keys.rotate() }
    },
  }
}

type Fault = {
  status: number
  error: string
  description: string
  retryAfterSeconds: number
  returnUrl: string
  returnHost: string
}

/** The outcome, or an OAuth refusal as an outcome; anything else is a bug and stays thrown. */
async function orFault<Answer>(
  work: () => Promise<Answer>,
): Promise<Answer | { outcome: { case: 'fault'; value: Fault } }> {
  try {
    return await work()
  } catch (thrown) {
    return { outcome: { case: 'fault', value: faultOf(thrown) } }
  }
}

function faultOf(thrown: unknown): Fault {
  if (!(thrown instanceof OAuthError)) throw thrown
  const { status, code, message, retryAfterSeconds, returnUrl } = thrown
  const returnHost = returnUrl === '' ? '' : redirectTarget(returnUrl)
  return { status, error: code, description: message, retryAfterSeconds, returnUrl, returnHost }
}

function answer(status: number, body: object) {
  return { outcome: { case: 'answer' as const, value: { status, body: jsonBytes(body) } } }
}

function withResource<Page, Resource>(page: Page, resource: Resource | undefined) {
  return resource === undefined ? { ...page } : { ...page, resource }
}

function jsonBytes(body: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(body))
}
