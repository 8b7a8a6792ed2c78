/** Registering a client: limited by visitor, with a secret when it asks for one. */
import { newId } from '@bmm/lib/ids'
import type { Sql } from '@bmm/lib/sql'
import { visitorOf } from '@bmm/lib/visitor'
import { newOpaqueToken, tokenHash } from '../opaque-token.ts'
import { rateWindow, subjectDigest } from '../rate-window.ts'
import { countOne } from '../sign-in/account-store.ts'
import { clientInformation, parseClientMetadata } from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'
import { createClient } from './oauth-store.ts'

/** Hosted AI clients register for many people from few addresses. */
const REGISTRATIONS_PER_IP_AND_HOUR = 60
const HOUR_MS = 3_600_000

/** Stores the client; its client information response. Throws OAuthError. */
export async function registerClient(
  { sql, now }: { sql: Sql; now: () => number },
  request: { metadata: Uint8Array; clientIp: string },
): Promise<object> {
  await countRegistration(sql, request.clientIp, now())
  const metadata = parseClientMetadata(request.metadata)
  const secret = metadata.authMethod === 'none' ? undefined : newOpaqueToken('bmk')
  const client = {
    ...metadata,
    id: newId('cli'),
    secretHash: secret === undefined ? null : tokenHash(secret),
    byOperator: false,
    createdAt: new Date(now()),
  }
  await createClient(sql, client)
  return clientInformation(client, secret)
}

async function countRegistration(sql: Sql, clientIp: string, now: number): Promise<void> {
  const window = rateWindow(now, HOUR_MS)
  const count = await countOne(sql, {
    kind: 'client-registration-ip',
    subject: subjectDigest(visitorOf(clientIp)),
    windowStart: window.start,
    expiresAt: window.end,
  })
  if (count > REGISTRATIONS_PER_IP_AND_HOUR) {
    throw new OAuthError('temporarily_unavailable', 'Too many registrations. Try again later.', {
      status: 429,
      retryAfterSeconds: window.secondsLeft,
    })
  }
}
