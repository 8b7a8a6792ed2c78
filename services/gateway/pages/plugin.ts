/** The pages that people see in a browser: sign-in, consent, and what went wrong. */

import { randomBytes } from 'node:crypto'
import { reasonOf } from '@bmm/lib/errors'
import type { SessionService } from '@bmm/proto/auth/v1/auth_service'
import type {
  OAuthFault,
  OAuthService,
  StartAuthorizationResponse,
} from '@bmm/proto/auth/v1/oauth_service'
import { slugPattern } from '@bmm/spec/resource-url'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import {
  browserCookie,
  browserSecret,
  browserSession,
  expiredSessionCookie,
  originFault,
  sessionCookie,
} from '../access/session-cookie.ts'
import { type Arrivals, userAgentOf } from '../arrival/arrival.ts'
import { admitVisitor, type RateLimiter } from '../limits/rate-limit.ts'
import { onlyValue, queryPairs, readForm } from '../oauth/form.ts'
import { nameOf, type ResourceOptions, resourceIn } from '../oauth/resource.ts'
import { problem, problemFrom } from '../problem.ts'
import { consentPage } from './consent.ts'
import { displayed } from './html.ts'
import { errorPage, seeOther } from './layout.ts'
import { returnPath } from './return-path.ts'
import { serverPage } from './server.ts'
import { finishPage, homePage, loginPage, mailSentPage } from './sign-in.ts'

export type PagesOptions = ResourceOptions & {
  sessions: Client<typeof SessionService>
  oauth: Client<typeof OAuthService>
  arrivals: Arrivals
  /** Requests without a session, by visitor. */
  visitors: RateLimiter
  /** The folder that mail goes to instead of to people, in development. */
  mailbox?: string
}

export function pagesPlugin(options: PagesOptions) {
  const page = (request: Request, render: () => Promise<Response>) =>
    humane(request, options, render)
  return new Elysia({ name: 'pages' })
    .get('/', ({ request }) => page(request, () => home(request, options)))
    .get('/s/:slug/mcp', ({ request, params }) => page(request, () => server(params.slug, options)))
    .get('/login', ({ request }) =>
      page(request, async () => {
        const returnTo = returnPath(onlyValue(queryPairs(request), 'return_to'))
        return loginPage({ returnTo })
      }),
    )
    .post('/login', ({ request }) => page(request, () => startLogin(request, options)), none)
    .get('/login/finish', ({ request }) =>
      page(request, async () => finishPage(onlyValue(queryPairs(request), 'token') ?? '')),
    )
    .post(
      '/login/finish',
      ({ request }) => page(request, () => finishLogin(request, options)),
      none,
    )
    .post('/logout', ({ request }) => page(request, () => logout(request, options)), none)
    .get('/oauth/authorize', ({ request }) => page(request, () => authorize(request, options)))
    .post('/oauth/consent', ({ request }) => page(request, () => decide(request, options)), none)
}

const BROWSER_SECRET_BYTES = 32

const none = { parse: 'none' } as const

/** Limits, the Origin of forms, and problems as pages. */
async function humane(
  request: Request,
  options: PagesOptions,
  render: () => Promise<Response>,
): Promise<Response> {
  try {
    admitVisitor(options.visitors, options.arrivals.of(request))
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      const fault = originFault(request, options.publicUrl, 'cookie')
      if (fault !== undefined) throw problem(403, 'origin_refused', fault)
    }
    return await render()
  } catch (thrown) {
    const found = problemFrom(thrown)
    if (found === undefined) throw thrown
    return errorPage(found.status, 'That did not work', found.detail)
  }
}

async function home(request: Request, options: PagesOptions): Promise<Response> {
  const sessionToken = browserSession(request)
  if (sessionToken === '') return homePage(undefined)
  try {
    const { session } = await options.sessions.getSession({ sessionToken })
    return homePage(session?.user?.email)
  } catch (thrown) {
    if (reasonOf(thrown) === 'session_invalid') return homePage(undefined)
    throw thrown
  }
}

async function server(slug: string, options: PagesOptions): Promise<Response> {
  const served = slugPattern.test(slug) ? await options.servings.find(slug) : undefined
  if (served?.state !== 'live') {
    throw problem(
      404,
      'server_not_found',
      'There is no server at this address, or it is paused. Ask whoever gave you the address.',
    )
  }
  const url = served.statement.resourceUrl
  return serverPage({ name: await nameOf(slug, options), slug, url })
}

async function startLogin(request: Request, options: PagesOptions): Promise<Response> {
  const form = await readForm(request)
  const returnTo = returnPath(onlyValue(form, 'return_to'))
  const email = (onlyValue(form, 'email') ?? '').trim()
  // Several tabs of one browser ask with one secret: none takes the way back from another.
  const browser = browserSecret(request) || randomBytes(BROWSER_SECRET_BYTES).toString('base64url')
  try {
    await options.sessions.startMagicLink({
      email,
      clientIp: options.arrivals.of(request).clientIp,
      returnTo,
      browser,
    })
  } catch (thrown) {
    const found = problemFrom(thrown)
    if (found === undefined || found.status >= 500) throw thrown
    const fault = found.code === 'invalid_request' ? 'That is not an email address.' : found.detail
    return loginPage({ returnTo, fault, email, status: found.status })
  }
  const page = mailSentPage(returnTo, options.mailbox)
  page.headers.set('set-cookie', browserCookie(browser))
  return page
}

/** What the secret of a link looks like; one with more or less was copied badly. */
const linkTokenPattern = /^bml_[\w-]{43}$/

async function finishLogin(request: Request, options: PagesOptions): Promise<Response> {
  const token = onlyValue(await readForm(request), 'token') ?? ''
  try {
    const finished = await options.sessions.finishMagicLink({
      token,
      userAgent: userAgentOf(request),
      browser: browserSecret(request),
    })
    return seeOther(returnPath(finished.returnTo) || '/', {
      'set-cookie': sessionCookie(finished.sessionToken),
    })
  } catch (thrown) {
    const found = problemFrom(thrown)
    const spoiled = found?.code === 'invalid_request' || reasonOf(thrown) === 'link_invalid'
    if (!spoiled) throw thrown
    const next = { href: '/login', label: 'Ask for another link' }
    if (!linkTokenPattern.test(token)) {
      const end =
        options.mailbox === undefined ? '' : ' In a file of the mailbox it ends before \\n.'
      return errorPage(400, 'This link is not whole', `Copy it again, exactly.${end}`, { next })
    }
    return errorPage(
      400,
      'This link does not work any more',
      'It was used already, or it is older than 15 minutes.',
      { next },
    )
  }
}

async function logout(request: Request, options: PagesOptions): Promise<Response> {
  const returnTo = returnPath(onlyValue(await readForm(request), 'return_to'))
  const sessionToken = browserSession(request)
  if (sessionToken !== '') await options.sessions.revokeSession({ sessionToken })
  const next = returnTo === '' ? '/' : `/login?return_to=${encodeURIComponent(returnTo)}`
  return seeOther(next, { 'set-cookie': expiredSessionCookie })
}

async function authorize(request: Request, options: PagesOptions): Promise<Response> {
  const parameters = queryPairs(request)
  const resource = await resourceIn(parameters, options)
  const { outcome } = await options.oauth.startAuthorization({
    parameters,
    sessionToken: browserSession(request),
    ...(resource === undefined ? {} : { resource }),
  })
  const { pathname, search } = new URL(request.url)
  return shown(outcome, `${pathname}${search}`)
}

function shown(outcome: StartAuthorizationResponse['outcome'], here: string): Response {
  const returnTo = returnPath(here)
  switch (outcome.case) {
    case 'login':
      return returnTo === ''
        ? errorPage(400, 'That did not work', 'The request of the program is too long.')
        : loginPage({ returnTo, clientName: outcome.value.clientName })
    case 'consent':
      return consentPage(outcome.value, returnTo)
    case 'redirectUrl':
      return seeOther(outcome.value)
    case 'fault':
      return refusedPage('The program asked wrongly', outcome.value)
    case undefined:
      throw new Error('the authorization server answered nothing')
    default:
      return outcome satisfies never
  }
}

/** The sentence is for the person, the code for who wrote the program, and the way on is hers to take or to leave. */
function refusedPage(title: string, fault: OAuthFault): Response {
  const { status, description, error, returnUrl, returnHost } = fault
  const back = returnUrl === '' ? {} : { back: { href: returnUrl, host: displayed(returnHost) } }
  return errorPage(status, title, description, { code: error, ...back })
}

async function decide(request: Request, options: PagesOptions): Promise<Response> {
  const form = await readForm(request)
  const resource = await resourceIn(form, options)
  const { outcome } = await options.oauth.decideConsent({
    requestId: onlyValue(form, 'request_id') ?? '',
    csrfToken: onlyValue(form, 'csrf_token') ?? '',
    approved: onlyValue(form, 'decision') === 'allow',
    sessionToken: browserSession(request),
    ...(resource === undefined ? {} : { resource }),
  })
  switch (outcome.case) {
    case 'redirectUrl':
      return seeOther(outcome.value)
    case 'fault':
      return refusedPage(
        outcome.value.error === 'access_denied' ? 'Nothing was allowed' : 'That did not work',
        outcome.value,
      )
    case undefined:
      throw new Error('the authorization server answered nothing')
    default:
      return outcome satisfies never
  }
}
