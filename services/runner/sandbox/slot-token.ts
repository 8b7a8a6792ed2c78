/** The one-time token of a slot's socket: made by who listens, laid beside the socket, given back by who dials. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { SLOT_TOKEN_MODE } from './sandbox-limits.ts'

const TOKEN_BYTES = 32

export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url')
}

/** A file of its own: never through what lies there already. */
export function writeToken(path: string, token: string): void {
  rmSync(path, { force: true })
  writeFileSync(path, token, { flag: 'wx', mode: SLOT_TOKEN_MODE })
  chmodSync(path, SLOT_TOKEN_MODE)
}

/** Without telling by its time how much of it is right. */
export function isSameToken(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
