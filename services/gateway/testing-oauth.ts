/** A gateway whose authorization server answers what a test of OAuth or of the pages tells it. */
import { afterAll, beforeEach } from 'bun:test'
import { limited, unauthenticated } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import type {
  DecideConsentRequest,
  ExchangeTokenRequest,
  OAuthService,
  RegisterClientRequest,
  RevokeTokenRequest,
  StartAuthorizationRequest,
} from '@bmm/proto/auth/v1/oauth_service'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import { type TestGateway, type TestServer, testGateway, testSpec } from './testing.ts'

export const session = `bms_${'s'.repeat(43)}`

export type AskedOfAuth = ReturnType<typeof nothingAsked>

export type OAuthWorld = {
  gw: TestGateway
  server: TestServer
  /** What the stand-in was asked, newest last. */
  asked: AskedOfAuth
  consent: { outcome: 'login' | 'consent' | 'redirect' | 'fault' | 'stranger' }
  /** Forgets what was asked. */
  reset(): void
}

/** The gateway that all tests of a file share; each begins with nothing asked. */
export async function oauthWorldOfFile(): Promise<OAuthWorld> {
  const world = await oauthWorld()
  beforeEach(() => world.reset())
  afterAll(() => world.gw[Symbol.asyncDispose]())
  return world
}

export async function oauthWorld(options: { mailbox?: string } = {}): Promise<OAuthWorld> {
  const asked = nothingAsked()
  const consent: OAuthWorld['consent'] = { outcome: 'consent' }
  const grants = { serverId: '' }
  const gw = await testGateway({
    ...options,
    oauth: { ...tokenStandIn(asked, grants), ...consentStandIn(asked, consent) },
    routes: (name, router) => {
      if (name === 'auth') sessionStandIn(asked, router)
    },
  })
  const server = gw.addServer(
    'pets',
    testSpec(['echo'], {
      name: 'Pets & <Friends>',
      egress: [{ origin: 'https://api.example.com' }],
    }),
  )
  grants.serverId = server.serverId
  return {
    ...{ gw, server, asked, consent },
    reset() {
      consent.outcome = 'consent'
      for (const list of Object.values(asked)) list.length = 0
    },
  }
}

/** A form as a program posts it. */
export const form = (fields: Record<string, string> | [string, string][], headers = {}) => ({
  method: 'POST',
  redirect: 'manual' as const,
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  body: new URLSearchParams(fields).toString(),
})

function nothingAsked() {
  return {
    register: [] as RegisterClientRequest[],
    token: [] as ExchangeTokenRequest[],
    revoke: [] as RevokeTokenRequest[],
    authorize: [] as StartAuthorizationRequest[],
    decide: [] as DecideConsentRequest[],
    links: [] as { email: string; clientIp: string; returnTo: string; browser: string }[],
    finished: [] as string[],
    /** The secret of the browser, with each finished sign-in. */
    browsers: [] as string[],
    ended: [] as string[],
  }
}

const json = (body: unknown, status = 200) => ({
  outcome: {
    case: 'answer' as const,
    value: { status, body: new TextEncoder().encode(JSON.stringify(body)) },
  },
})
const fault = (status: number, error: string, retryAfterSeconds = 0) => ({
  outcome: {
    case: 'fault' as const,
    value: { status, error, description: 'A sentence.', retryAfterSeconds },
  },
})

type Methods = Partial<ServiceImpl<typeof OAuthService>>

function tokenStandIn(asked: AskedOfAuth, grants: { serverId: string }): Methods {
  return {
    registerClient(request) {
      asked.register.push(request)
      return json({ client_id: 'cli_1' }, 201)
    },
    exchangeToken(request) {
      asked.token.push(request)
      const grant = request.parameters.find(({ name }) => name === 'grant_type')?.value
      if (grant === 'bad') return fault(400, 'invalid_grant')
      if (grant === 'client') return fault(401, 'invalid_client')
      if (grant === 'often') return fault(429, 'temporarily_unavailable', 7)
      if (grant === 'implicit' && request.resource === undefined) {
        return { outcome: { case: 'resourceNeeded', value: { serverId: grants.serverId } } }
      }
      return json({ access_token: 'at', token_type: 'Bearer' })
    },
    revokeToken(request) {
      asked.revoke.push(request)
      return {}
    },
    introspectToken: () => json({ active: false }),
  }
}

function consentStandIn(asked: AskedOfAuth, consent: OAuthWorld['consent']): Methods {
  return {
    startAuthorization(request) {
      asked.authorize.push(request)
      switch (consent.outcome) {
        case 'login':
          return { outcome: { case: 'login', value: { clientName: 'Some <b>Client</b>' } } }
        case 'redirect':
          return {
            outcome: { case: 'redirectUrl', value: 'http://localhost:9/cb?error=invalid_scope' },
          }
        case 'fault':
          return fault(400, 'invalid_request')
        case 'stranger': {
          const { value } = fault(400, 'invalid_scope').outcome
          const back = {
            returnUrl: 'https://lure.example/cb?error=a&b',
            returnHost: 'lure.example',
          }
          return { outcome: { case: 'fault', value: { ...value, ...back } } }
        }
        case 'consent':
          return { outcome: { case: 'consent', value: consentFor(request) } }
        default:
          return consent.outcome satisfies never
      }
    },
    decideConsent(request) {
      asked.decide.push(request)
      if (request.csrfToken !== 'csrf-1') return fault(403, 'access_denied')
      const answer = request.approved ? 'code=abc' : 'error=access_denied'
      return { outcome: { case: 'redirectUrl', value: `http://localhost:9/cb?${answer}` } }
    },
  }
}

function sessionStandIn(asked: AskedOfAuth, router: ConnectRouter): void {
  router.service(SessionService, {
    startMagicLink(request) {
      if (request.email === 'often@example.com') {
        throw limited('rate_limited', 'Too many links. Come back tomorrow.')
      }
      asked.links.push(request)
      return {}
    },
    finishMagicLink({ token, browser }) {
      asked.browsers.push(browser)
      if (token !== 'link-1') throw unauthenticated('link_invalid', 'The link is not valid.')
      asked.finished.push(token)
      return { sessionToken: session, returnTo: '/oauth/authorize?x=1', session: {} }
    },
    revokeSession({ sessionToken }) {
      asked.ended.push(sessionToken)
      return {}
    },
    getSession: () => ({
      session: { id: newId('ses'), user: { id: newId('usr'), email: 'ada@example.com' } },
    }),
  })
}

function consentFor(request: StartAuthorizationRequest) {
  return {
    requestId: 'req-1',
    csrfToken: 'csrf-1',
    clientName: '<script>alert(1)</script> \u202eevil',
    redirectHost: 'localhost:9',
    scopes: ['mcp:tools', 'offline_access'],
    ...(request.resource === undefined ? {} : { resource: request.resource }),
    orgName: 'Ada & Sons',
    userEmail: 'ada@example.com',
    clientByOperator: request.parameters.some(({ value }) => value === 'cli_by_operator'),
  }
}
