/** `login`, `logout`, `whoami`: the session of the command line. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { meAnswer, signInAnswer } from '@bmm/spec/rest-answer'
import type { Command } from 'commander'
import { z } from 'zod'
import { ask, send } from './api.ts'
import { CommandFault, failed, misused } from './fault.ts'
import { bmm } from './hint.ts'
import { note, oneLine, print, printJson } from './output.ts'
import type { Gateway } from './reach.ts'
import { findSession, forgetSession, localStack, saveSession, signedIn } from './session.ts'
import { dataOption } from './up.ts'

const MAIL_TIMEOUT_MS = 30_000
const MAIL_POLL_MS = 50

const mailSchema = z.object({ to: z.string(), text: z.string() })

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addSessionCommands(program: Command): void {
  program
    .command('login')
    .description('sign in by a mailed link; in development the local mailbox is read by itself')
    .option('--email <address>', 'your address', parseEmail)
    .option('--link <url>', 'the link of the mail, where the mail is really sent')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(login)
  program
    .command('logout')
    .description('end the session')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(logout)
  program
    .command('whoami')
    .description('who is signed in, or for whom the token in BMM_TOKEN acts')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(whoami)
}

function parseEmail(text: string): string {
  if (z.email().safeParse(text).success) return text
  throw misused('--email must be an address, such as you@example.com.')
}

async function login(options: Common & { email?: string; link?: string }): Promise<void> {
  const { email, link } = options
  if ((email === undefined) === (link === undefined)) {
    throw misused('Give either --email or, after the mail came, --link.')
  }
  const user =
    email === undefined ? await redeem(options.data, link ?? '') : await signIn(options.data, email)
  if (user === undefined) {
    note(`A link is on its way. When it came: ${bmm('login --link "THE LINK"', options.data)}`)
    if (options.json === true) printJson({ mailed: true })
    return
  }
  if (options.json === true) printJson(user)
  else print(`signed in as ${user.email}`)
}

/** Signs in as the address; undefined when the mail goes where this command cannot read it. */
export async function signIn(data: string, email: string): Promise<{ email: string } | undefined> {
  const { paths, report, gateway } = localStack(data)
  if (await isSignedInAs(data, email)) return { email }
  const startedAt = Date.now()
  await send(gateway, '/v1/login', { method: 'POST', body: { email } })
  if (report.mailbox === null) return undefined
  const link = await mailedLink(report.mailbox, email, startedAt)
  const finished = await finish(gateway, link)
  saveSession(paths, { session: finished.session, email: finished.user.email })
  return { email: finished.user.email }
}

/** Links are few a day: a session that still holds needs none. */
async function isSignedInAs(data: string, email: string): Promise<boolean> {
  const { paths, gateway } = localStack(data)
  const session = findSession(paths)
  if (session === undefined || session.email !== email.toLowerCase()) return false
  try {
    await ask(gateway, '/v1/me', meAnswer, { session: session.session })
    return true
  } catch (error) {
    if (error instanceof CommandFault && error.code.startsWith('session_')) return false
    throw error
  }
}

async function redeem(data: string, link: string): Promise<{ email: string }> {
  const { paths, gateway } = localStack(data)
  const finished = await finish(gateway, link)
  saveSession(paths, { session: finished.session, email: finished.user.email })
  return { email: finished.user.email }
}

async function finish(gateway: Gateway, link: string) {
  const token = URL.canParse(link) ? new URL(link).searchParams.get('token') : null
  if (token === null) throw misused('That is not the link of a sign-in mail: it has no token.')
  return ask(gateway, '/v1/login/finish', signInAnswer, { method: 'POST', body: { token } })
}

/** The link in the newest mail to the address that came since then. */
async function mailedLink(mailbox: string, email: string, since: number): Promise<string> {
  const deadline = Date.now() + MAIL_TIMEOUT_MS
  while (Date.now() < deadline) {
    for (const name of readdirSync(mailbox).sort().reverse()) {
      if (!/^\d+-.*\.json$/.test(name) || Number(name.split('-')[0]) < since) continue
      const mail = mailSchema.parse(JSON.parse(readFileSync(join(mailbox, name), 'utf8')))
      const link = /https?:\/\/\S+[?&]token=[^\s&]+/.exec(mail.text)?.[0]
      if (mail.to.toLowerCase() === email.toLowerCase() && link !== undefined) return link
    }
    await Bun.sleep(MAIL_POLL_MS)
  }
  throw failed(
    'no_mail',
    `No mail to ${email} arrived. An address gets at most 5 links a day, this computer 10.`,
  )
}

async function logout(options: Common): Promise<void> {
  const { paths, gateway } = localStack(options.data)
  const session = findSession(paths)
  if (session !== undefined) {
    await send(gateway, '/v1/logout', { method: 'POST', session: session.session }).catch(
      (error: unknown) => {
        // A session that has ended by itself is what was wanted.
        if (!(error instanceof CommandFault) || !error.code.startsWith('session_')) throw error
      },
    )
    forgetSession(paths)
  }
  if (options.json === true) printJson({ signedOut: session !== undefined })
  else print(session === undefined ? 'nobody was signed in' : 'signed out')
}

async function whoami(options: Common): Promise<void> {
  const { gateway, session } = signedIn(options.data)
  const me = await ask(gateway, '/v1/me', meAnswer, { session })
  if (options.json === true) {
    printJson(me)
    return
  }
  print(`${me.user.email}  ${me.role} of ${me.org.name}`)
  if (me.session !== undefined) print(`session until ${me.session.expiresAt}`)
  if (me.token === undefined) return
  const { name, scopes, expiresAt } = me.token
  print(
    `by the service token ${oneLine(name)} of BMM_TOKEN until ${expiresAt}: ${scopes.join(' ')}`,
  )
}
