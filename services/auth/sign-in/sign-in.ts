/** Signing in by magic link: asking for one, redeeming it, and what the first sign-in creates. */
import { errorFrom, invalid, limited, unauthenticated, unavailable } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import type { Log } from '@bmm/lib/log'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { visitorOf } from '@bmm/lib/visitor'
import { newOpaqueToken, tokenHash } from '../opaque-token.ts'
import { rateWindow, subjectDigest } from '../rate-window.ts'
import {
  consumeMagicLink,
  countOne,
  createMagicLink,
  createSession,
  ensurePersonalOrg,
  ensureUser,
  findSession,
} from './account-store.ts'
import {
  isReturnPath,
  LINK_TTL_MS,
  LINKS_PER_ADDRESS_AND_DAY,
  LINKS_PER_IP_AND_DAY,
  linkMail,
} from './magic-link.ts'
import type { SendMail } from './mail.ts'
import {
  emailFrom,
  personalOrgName,
  SESSION_TTL_MS,
  type Session,
  userAgentFrom,
} from './session.ts'

export type SignInOptions = {
  sql: Sql
  sendMail: SendMail
  publicUrl: string
  log: Log
  now: () => number
}

const DAY_MS = 86_400_000

/** Mails a link. Nothing in it depends on whether the address is known: users are made when a link is redeemed. */
export async function startMagicLink(
  options: SignInOptions,
  request: { email: string; clientIp: string; returnTo: string; browser: string },
): Promise<void> {
  const { sql, sendMail, publicUrl, log, now } = options
  if (!isReturnPath(request.returnTo, publicUrl)) {
    throw invalid('return_to_invalid', 'return_to must be a path on this site.')
  }
  const email = emailFrom(request.email)
  await countLink(sql, 'magic-link-ip', visitorOf(request.clientIp), LINKS_PER_IP_AND_DAY, now())
  await countLink(sql, 'magic-link-address', email, LINKS_PER_ADDRESS_AND_DAY, now())
  const token = newOpaqueToken('bml')
  await createMagicLink(sql, {
    tokenHash: tokenHash(token),
    email,
    returnTo: request.returnTo,
    browserHash: browserHash(request.browser),
    createdAt: new Date(now()),
    expiresAt: new Date(now() + LINK_TTL_MS),
  })
  try {
    // A refused address gets the same answer as any other.
    const outcome = await sendMail(linkMail(email, publicUrl, token))
    if (outcome === 'refused') log.warn('the mail server refused the address of a sign-in mail')
  } catch (thrown) {
    log.error({ fault: mailFault(thrown) }, 'a sign-in mail was not sent')
    throw unavailable('mail_unavailable', 'The mail could not be sent. Try again in a minute.')
  }
}

/** Redeems a link once and opens a session. Throws `link_invalid`. */
export async function finishMagicLink(
  options: SignInOptions,
  request: { token: string; userAgent: string; browser: string },
): Promise<{ sessionToken: string; session: Session; returnTo: string }> {
  const { sql, now } = options
  const at = new Date(now())
  const sessionToken = newOpaqueToken('bms')
  return inTransaction(sql, async (transaction) => {
    const link = await consumeMagicLink(transaction, {
      tokenHash: tokenHash(request.token),
      browserHash: browserHash(request.browser),
      now: at,
    })
    if (link === undefined) {
      throw unauthenticated('link_invalid', 'This link was used or has expired. Ask for a new one.')
    }
    const { email, returnTo } = link
    const userId = await ensureUser(transaction, { id: newId('usr'), email, createdAt: at })
    const orgId = await ensurePersonalOrg(transaction, {
      id: newId('org'),
      name: personalOrgName(email),
      userId,
      createdAt: at,
    })
    await createSession(transaction, {
      id: newId('ses'),
      tokenHash: tokenHash(sessionToken),
      userId,
      orgId,
      userAgent: userAgentFrom(request.userAgent),
      createdAt: at,
      expiresAt: new Date(at.getTime() + SESSION_TTL_MS),
    })
    const session = await findSession(transaction, tokenHash(sessionToken), at)
    if (session === undefined) throw new Error('the session was not stored')
    return { sessionToken, session, returnTo }
  })
}

/** The live session behind a token. Throws `session_invalid`. */
export async function getSession(sql: Sql, sessionToken: string, now: number): Promise<Session> {
  const session = await findSession(sql, tokenHash(sessionToken), new Date(now))
  if (session === undefined) {
    throw unauthenticated('session_invalid', 'You are signed out. Sign in again.')
  }
  return session
}

/** Null matches no browser, not even one without a secret. */
function browserHash(browser: string): Buffer | null {
  return browser === '' ? null : tokenHash(browser)
}

/** Counts before anything is done, and fails when it cannot count. */
async function countLink(
  sql: Sql,
  kind: string,
  subject: string,
  limit: number,
  now: number,
): Promise<void> {
  const window = rateWindow(now, DAY_MS)
  const count = await countOne(sql, {
    kind,
    subject: subjectDigest(subject),
    windowStart: window.start,
    expiresAt: window.end,
  })
  if (count > limit) {
    throw limited('rate_limited', 'Too many sign-in mails were asked for. Try again tomorrow.', {
      retryAfterSeconds: window.secondsLeft,
    })
  }
}

/** The code only: messages of mail servers quote addresses. */
function mailFault(thrown: unknown): string {
  const error = errorFrom(thrown)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
