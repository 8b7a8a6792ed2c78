/**
 * The oracle, a program for Node: oidc-provider with the features that ours has, on a port of its own. Whoever comes is
 * signed in and allows everything, unless `login_hint` is `deny`. It prints its address and ends with its standard input.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { errors, Provider } from 'oidc-provider'

const ACCOUNT = 'person-1'
const CODE_SECONDS = 60
/** What the client of this name gets: codes that end while a test looks. */
const HASTY_CODE_SECONDS = 1
const scopes = 'mcp:tools offline_access'

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const issuer = `http://127.0.0.1:${address.port}`
  const provider = new Provider(issuer, configurationOf(issuer))
  const handle = provider.callback()
  server.on('request', (request, response) => {
    if (request.url?.startsWith('/interaction/') !== true) return void handle(request, response)
    answerAsPerson(provider, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error))
    })
  })
  process.stdout.write(`${issuer}\n`)
})
process.stdin.on('end', () => process.exit(0)).resume()

type Named = { clientName?: string }
type Context = {
  oidc: {
    result?: { consent?: { grantId?: string } }
    provider: { Grant: { find(id: string): Promise<unknown> } }
  }
}
type Token = { clientId: string }

function configurationOf(issuer: string) {
  const resources = new Set([`${issuer}/resource-a`, `${issuer}/resource-b`])
  return {
    scopes: scopes.split(' '),
    responseTypes: ['code'],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (
      _context: unknown,
      client: { grantTypeAllowed(type: string): boolean },
    ) => client.grantTypeAllowed('refresh_token'),
    ttl: {
      AccessToken: 300,
      AuthorizationCode: (_context: unknown, _code: unknown, client: Named) =>
        client.clientName === 'hasty' ? HASTY_CODE_SECONDS : CODE_SECONDS,
      Grant: 3_600,
      Interaction: 600,
      RefreshToken: 3_600,
      Session: 3_600,
    },
    cookies: { keys: ['oracle'] },
    findAccount: async (_context: unknown, accountId: string) => ({
      accountId,
      claims: async () => ({ sub: accountId }),
    }),
    interactions: {
      url: async (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}`,
    },
    // Each request is consented to anew, so that no row lives on another one's grant.
    loadExistingGrant: async ({ oidc }: Context) => {
      const grantId = oidc.result?.consent?.grantId
      return grantId === undefined ? undefined : oidc.provider.Grant.find(grantId)
    },
    renderError: async (context: { type: string; body: unknown }, out: unknown) => {
      context.type = 'json'
      context.body = out
    },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true, issueRegistrationAccessToken: false },
      revocation: { enabled: true },
      introspection: {
        enabled: true,
        // As ours: a token is nobody's business but its client's.
        allowedPolicy: async (_context: unknown, client: Token, token: Token) =>
          token.clientId === client.clientId,
      },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: async () => true,
        defaultResource: async () => {
          throw new errors.InvalidTarget()
        },
        getResourceServerInfo: async (_context: unknown, resource: string) => {
          if (!resources.has(resource)) throw new errors.InvalidTarget()
          return { scope: scopes, audience: resource, accessTokenTTL: 300 }
        },
      },
    },
  }
}

/** Signs in, then allows or denies, as `login_hint` says. */
async function answerAsPerson(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { prompt, params } = await provider.interactionDetails(request, response)
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: ACCOUNT } })
    return
  }
  if (params.login_hint === 'deny') {
    await provider.interactionFinished(request, response, { error: 'access_denied' })
    return
  }
  const grant = new provider.Grant({ accountId: ACCOUNT, clientId: params.client_id })
  grant.addOIDCScope(scopes)
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, scopes)
  await provider.interactionFinished(request, response, {
    consent: { grantId: await grant.save() },
  })
}
