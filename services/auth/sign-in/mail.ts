/** Sending mail: by SMTP, or in development into a local mailbox folder. */
import { randomBytes } from 'node:crypto'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'

export type Mail = { to: string; subject: string; text: string; html: string }

/**
 * Resolves once the mail is handed over; `refused` when the receiving side does not take this address.
 * Throws when the sender itself does not work.
 */
export type SendMail = (mail: Mail) => Promise<'sent' | 'refused'>

export type SmtpOptions = {
  /** `smtp://user:password@host:port` or `smtps://…`. */
  url: string
  from: string
  /** Refuse to send without TLS. */
  requireTls: boolean
}

const MAIL_TIMEOUT_MS = 10_000
const MAILBOX_FILE_MODE = 0o600

/** A sender that opens one connection a mail: sign-in mails are few. */
export function smtpSender(options: SmtpOptions): SendMail {
  const transport = createTransport({
    url: options.url,
    requireTLS: options.requireTls,
    connectionTimeout: MAIL_TIMEOUT_MS,
    greetingTimeout: MAIL_TIMEOUT_MS,
    socketTimeout: MAIL_TIMEOUT_MS,
    // A template must never make the sender read files or fetch URLs.
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return async ({ to, subject, text, html }) => {
    try {
      // As an object, so that a strange address is never parsed as a list of several.
      const recipient = { name: '', address: to }
      await transport.sendMail({ from: options.from, to: recipient, subject, text, html })
      return 'sent'
    } catch (thrown) {
      if (isAddressRefusal(thrown)) return 'refused'
      throw thrown
    }
  }
}

/** One JSON file a mail, complete at once and readable by its owner only. */
export function mailboxSender(directory: string, now: () => number): SendMail {
  return async (mail) => {
    const id = randomBytes(8).toString('hex')
    const at = new Date(now())
    const draft = join(directory, `.${id}.partial`)
    const file = await open(draft, 'wx', MAILBOX_FILE_MODE)
    try {
      await file.writeFile(`${JSON.stringify({ ...mail, at: at.toISOString() })}\n`)
    } finally {
      await file.close()
    }
    await rename(draft, join(directory, `${at.getTime()}-${id}.json`))
    return 'sent'
  }
}

/** A permanent answer to RCPT TO (RFC 5321 section 4.2.1); the rest is the sender's trouble. */
function isAddressRefusal(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || !('code' in thrown) || thrown.code !== 'EENVELOPE') return false
  const reply = 'responseCode' in thrown ? Number(thrown.responseCode) : 0
  return reply >= 500 && 'command' in thrown && String(thrown.command).startsWith('RCPT')
}
