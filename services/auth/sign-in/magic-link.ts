/** Sign-in links: what the mail says, where the visitor returns to, and how many are sent a day. */
import type { Mail } from './mail.ts'

export const LINK_TTL_MS = 15 * 60_000
/** One visitor may ask for a whole family; one address is spared a flood. */
export const LINKS_PER_IP_AND_DAY = 10
export const LINKS_PER_ADDRESS_AND_DAY = 5

/** The link that the mail carries; the page behind it asks for a click, because mail scanners follow links. */
export function linkUrl(publicUrl: string, token: string): string {
  return `${publicUrl}/login/finish?token=${encodeURIComponent(token)}`
}

/** The mail in both forms. */
export function linkMail(to: string, publicUrl: string, token: string): Mail {
  const url = linkUrl(publicUrl, token)
  const host = new URL(publicUrl).host
  const minutes = LINK_TTL_MS / 60_000
  const validity = `It works once, within ${minutes} minutes.`
  const stranger =
    'If you did not ask for it, ignore this mail: nobody is signed in without the link.'
  return {
    to,
    subject: `Sign in to Build My MCP (${host})`,
    text: `Open this link to sign in to Build My MCP on ${host}:\n\n${url}\n\n${validity}\n${stranger}\n`,
    html: [
      `<p>Open this link to sign in to Build My MCP on ${escaped(host)}:</p>`,
      `<p><a href="${escaped(url)}">Sign in</a></p>`,
      `<p>${validity} ${stranger}</p>`,
    ].join('\n'),
  }
}

/** Whether the text is a path on our own origin, as a browser would resolve it. */
export function isReturnPath(text: string, publicUrl: string): boolean {
  if (text === '') return true
  if (!/^\/[\x21-\x7e]*$/.test(text) || !URL.canParse(text, publicUrl)) return false
  return new URL(text, publicUrl).origin === new URL(publicUrl).origin
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
