/** What a service token is: its text, its scopes and its life (pure). */
import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { invalid } from '@bmm/lib/errors'
import { isScope, type Scope, scopeNames } from '@bmm/lib/permission'

/** Live ones an organisation. */
export const MAX_SERVICE_TOKENS = 50
/** How exact the time of the last use is, and so how rarely it is written. */
export const LAST_USED_STEP_MS = 60_000

const PREFIX = 'bmm_'
const SECRET_BYTES = 32
/** 256 bits in base 62. */
const SECRET_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const pattern = new RegExp(`^${PREFIX}[0-9A-Za-z]{${SECRET_CHARACTERS + CHECKSUM_CHARACTERS}}$`)

export type ServiceToken = {
  /** `tok_…`; not the secret. */
  id: string
  orgId: string
  userId: string
  email: string
  name: string
  scopes: string[]
  createdAt: Date
  expiresAt: Date
  lastUsedAt: Date | null
}

/** `bmm_`, 256 random bits and a checksum, letters and digits only: scanners of leaked secrets tell it from noise. */
export function newServiceToken(secret: Buffer = randomBytes(SECRET_BYTES)): string {
  const text = PREFIX + base62(BigInt(`0x${secret.toString('hex')}`), SECRET_CHARACTERS)
  return text + checksum(text)
}

/** Whether the text is well formed; a mistyped or cut token is told apart without looking it up. */
export function isServiceToken(text: string): boolean {
  if (!pattern.test(text)) return false
  const body = text.slice(0, -CHECKSUM_CHARACTERS)
  return text === body + checksum(body)
}

/** The scopes, each once, in the order of the table. Throws `scope_unknown`. */
export function scopesFrom(wished: readonly string[]): Scope[] {
  if (!wished.every(isScope)) {
    throw invalid('scope_unknown', `Scopes are ${scopeNames.join(', ')}.`)
  }
  return scopeNames.filter((scope) => wished.includes(scope))
}

/** One line that people can read. Throws `name_invalid`. */
export function tokenNameFrom(typed: string): string {
  const name = typed.replace(/\p{C}/gu, ' ').trim()
  if (name === '') throw invalid('name_invalid', 'A token needs a name that says what it is for.')
  return name
}

function checksum(text: string): string {
  return base62(BigInt(crc32(text)), CHECKSUM_CHARACTERS)
}

function base62(value: bigint, characters: number): string {
  const base = BigInt(alphabet.length)
  let text = ''
  for (let left = value; text.length < characters; left /= base) {
    text = `${alphabet[Number(left % base)]}${text}`
  }
  return text
}
