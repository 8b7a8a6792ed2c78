/** No browser is sent to a stranger's site by itself (RFC 9700 section 4.11.2): registration is open to everybody. */
import { expect, test } from 'bun:test'
import {
  authOfFile,
  authorizationQuery,
  codeForm,
  exchange,
  getCode,
  openConsent,
  register,
  signIn,
  testResource,
  tokensOf,
} from '../testing.ts'

const site = 'https://lure.example/callback'
const web = { redirect_uri: site }

const auth = await authOfFile()
const owner = await signIn(auth)

async function webClient(): Promise<string> {
  return (await register(auth, { redirect_uris: [site] })).client_id
}

const resource = () => testResource(owner.orgId)

async function authorize(
  clientId: string,
  changes: Record<string, string | undefined>,
  sessionToken: string,
) {
  const target = resource()
  const parameters = authorizationQuery(clientId, target, { ...web, ...changes })
  return (await auth.oauth.startAuthorization({ parameters, sessionToken, resource: target }))
    .outcome
}

test('who is signed out signs in before any error is sent anywhere', async () => {
  const clientId = await webClient()
  for (const changes of [{}, { scope: 'admin' }, { code_challenge: undefined }, { request: 'x' }]) {
    const outcome = await authorize(clientId, changes, '')
    expect(outcome).toMatchObject({ case: 'login', value: { clientName: 'Test client' } })
  }
})

test('an error of a site that the person never allowed anything is a page with the way on', async () => {
  const outcome = await authorize(await webClient(), { scope: 'admin' }, owner.sessionToken)
  expect(outcome).toMatchObject({
    case: 'fault',
    value: { status: 400, error: 'invalid_scope', returnHost: 'lure.example' },
  })
  if (outcome.case !== 'fault') return
  const url = new URL(outcome.value.returnUrl)
  expect(url.href).toStartWith(`${site}?error=invalid_scope&`)
  expect(url.searchParams.get('state')).toBe('xyz')
})

test('a question without a page (prompt=none) leads to no site by itself', async () => {
  const clientId = await webClient()
  const stranger = await authorize(clientId, { prompt: 'none' }, '')
  expect(stranger).toMatchObject({ case: 'fault', value: { error: 'login_required' } })
  const known = await authorize(clientId, { prompt: 'none' }, owner.sessionToken)
  expect(known).toMatchObject({ case: 'fault', value: { error: 'consent_required' } })
})

test('a scheme of an application is no more trusted than a site', async () => {
  const own = 'lure.app:/callback'
  const { client_id } = await register(auth, { redirect_uris: [own] })
  const changes = { redirect_uri: own, scope: 'admin' }
  const outcome = await authorize(client_id, changes, owner.sessionToken)
  expect(outcome).toMatchObject({ case: 'fault', value: { returnHost: 'lure.app' } })
})

test('a client of the operator’s gets its errors, and the word of who declines', async () => {
  const { client } = await auth.clients.createClient({
    name: 'Vouched for',
    redirectUris: [site],
    authMethod: 'none',
  })
  const clientId = client?.id ?? ''
  const wrong = await authorize(clientId, { scope: 'admin' }, owner.sessionToken)
  expect(wrong).toMatchObject({ case: 'redirectUrl' })
  const silent = await authorize(clientId, { prompt: 'none' }, '')
  expect(silent).toMatchObject({ case: 'redirectUrl' })
})

test('whoever declines stays here, and the page is used up', async () => {
  const clientId = await webClient()
  const target = resource()
  const page = await openConsent(auth, owner, clientId, target, web)
  const decision = {
    requestId: page.requestId,
    csrfToken: page.csrfToken,
    approved: false,
    sessionToken: owner.sessionToken,
    resource: target,
  }
  const { outcome } = await auth.oauth.decideConsent(decision)
  expect(outcome).toMatchObject({
    case: 'fault',
    value: { error: 'access_denied', returnHost: 'lure.example' },
  })
  const again = await auth.oauth.decideConsent({ ...decision, approved: true })
  expect(again.outcome).toMatchObject({ case: 'fault', value: { error: 'invalid_request' } })
})

test('a client that the person allows something gets its errors, until that ends; nobody else’s do', async () => {
  const clientId = await webClient()
  const target = resource()
  const code = await getCode(auth, owner, clientId, target, web)
  const form = { ...codeForm(clientId, code, target), ...web }
  const { access_token } = tokensOf(await exchange(auth.oauth, { form, resource: target }))
  const trusted = await authorize(clientId, { scope: 'admin' }, owner.sessionToken)
  expect(trusted).toMatchObject({ case: 'redirectUrl' })

  const other = await signIn(auth)
  const strange = await authorize(clientId, { scope: 'admin' }, other.sessionToken)
  expect(strange).toMatchObject({ case: 'fault', value: { error: 'invalid_scope' } })

  await auth.oauth.revokeToken({
    parameters: [
      { name: 'client_id', value: clientId },
      { name: 'token', value: access_token },
    ],
  })
  const ended = await authorize(clientId, { scope: 'admin' }, owner.sessionToken)
  expect(ended).toMatchObject({ case: 'fault', value: { error: 'invalid_scope' } })
})
