/** A session: a signed-in browser or program, known by the hash of its token. */

export const SESSION_TTL_MS = 30 * 86_400_000
const MAX_USER_AGENT = 300

export type Session = {
  /** `ses_…`; not the secret. */
  id: string
  userId: string
  email: string
  /** The organisation that the session acts for. */
  orgId: string
  orgName: string
  /** Read from the membership at each use, never kept in the session. */
  role: string
  expiresAt: Date
}

/** The address as it is stored and compared. */
export function emailFrom(typed: string): string {
  return typed.trim().toLowerCase()
}

/** What a personal organisation is called: other people see it, so never the whole address. */
export function personalOrgName(email: string): string {
  return email.slice(0, Math.max(email.lastIndexOf('@'), 1))
}

/** The program's name for the list of sessions: one line, cut. */
export function userAgentFrom(header: string): string {
  return header.replace(/\p{C}/gu, ' ').trim().slice(0, MAX_USER_AGENT)
}
