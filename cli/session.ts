/** Who the command line is signed in as on a stack: a file in its data directory. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { serviceToken } from './config.ts'
import { failed, misused } from './fault.ts'
import type { Gateway } from './reach.ts'
import { findStackPaths, type StackPaths } from './stack/paths.ts'
import { type Report, stackState } from './stack/report.ts'
import { findSettings } from './stack/settings.ts'

const sessionSchema = z.object({ session: z.string(), email: z.string() })
export type Session = z.infer<typeof sessionSchema>

export type LocalStack = { paths: StackPaths; report: Report; gateway: Gateway }

/** The running stack of a data directory; throws CommandFault when it is not up. */
export function localStack(data: string): LocalStack {
  const paths = findStackPaths(data)
  const state = paths === undefined ? undefined : stackState(paths)
  if (paths === undefined || state === undefined || state.kind === 'down') {
    throw failed('not_running', `No stack runs on ${data}.`, { next: 'up --detach' })
  }
  const port = findSettings(paths.data)?.port
  if (state.kind === 'up' && port !== undefined) {
    const { report } = state
    return { paths, report, gateway: { origin: report.gateway, port } }
  }
  throw failed('starting', `The stack on ${data} is starting: wait a moment.`)
}

/** The session of this data directory, or undefined. */
export function findSession(paths: StackPaths): Session | undefined {
  const path = sessionFile(paths)
  if (!existsSync(path)) return undefined
  return sessionSchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data
}

export function saveSession(paths: StackPaths, session: Session): void {
  const path = sessionFile(paths)
  writeFileSync(`${path}.new`, JSON.stringify(session), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export function forgetSession(paths: StackPaths): void {
  rmSync(sessionFile(paths), { force: true })
}

export type SignedIn = LocalStack & Session

/**
 * The running stack and what a command acts by: the service token of BMM_TOKEN where one is set, else the session.
 * Throws CommandFault with what to do when one is missing.
 */
export function signedIn(data: string): SignedIn {
  const session = serviceToken()
  if (session === undefined) return signedInHere(data)
  if (!session.startsWith('bmm_')) {
    throw misused(
      'BMM_TOKEN holds no service token: one begins with bmm_. Unset it to act as who is signed in.',
    )
  }
  return { ...localStack(data), session, email: 'a service token' }
}

/** The same for what only a person may do: a token that is set is refused, never passed over in silence. */
export function signedInPerson(data: string): SignedIn {
  if (serviceToken() === undefined) return signedInHere(data)
  throw failed(
    'session_needed',
    'BMM_TOKEN is set, and no service token may do this: unset it to act as who is signed in.',
  )
}

/** By the session of this data directory, whatever is in the environment. */
export function signedInHere(data: string): SignedIn {
  const stack = localStack(data)
  const session = findSession(stack.paths)
  if (session === undefined) {
    throw failed('not_signed_in', 'Nobody is signed in.', { next: 'login --email YOU@EXAMPLE.COM' })
  }
  return { ...stack, ...session }
}

function sessionFile(paths: StackPaths): string {
  return join(paths.data, 'session.json')
}
