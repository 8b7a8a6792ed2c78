/** The frame of every page: one style sheet, no script, and headers that let nothing else in. */
import { createHash } from 'node:crypto'
import { Html, html } from './html.ts'
import { styleSheet } from './style.ts'

const styleHash = createHash('sha256').update(styleSheet).digest('base64')

export type Page = {
  title: string
  body: Html
  status?: number
  /**
   * Whether a form here ends at another site or in an application. Chromium holds `form-action` against every hop of
   * a form's redirects, and where a client's callback leads is the client's: no list of targets can be complete.
   */
  formsLeave?: boolean
  headers?: Record<string, string>
}

export function pageResponse(page: Page): Response {
  const text = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${page.title} · Build My MCP</title>
<style>${rawStyle}</style>
</head>
<body>
<header><a class="brand" href="/"><span class="mark" aria-hidden="true"></span>Build My MCP</a></header>
<main>${page.body}</main>
</body>
</html>`.text
  const policy = [
    "default-src 'none'",
    `style-src 'sha256-${styleHash}'`,
    ...(page.formsLeave === true ? [] : ["form-action 'self'"]),
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ')
  return new Response(text, {
    status: page.status ?? 200,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'x-frame-options': 'DENY',
      // Not no-referrer: browsers would then send `Origin: null` with our own forms.
      'referrer-policy': 'same-origin',
      'cache-control': 'no-store',
      'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=()',
      ...page.headers,
    },
  })
}

/** A page that says what went wrong and what to do. */
export function errorPage(
  status: number,
  title: string,
  sentence: string,
  more: {
    next?: { href: string; label: string }
    /** The machine's word for it, for who wrote the program. */
    code?: string
    /** The address of a program that nobody vouches for. */
    back?: { href: string; host: string }
  } = {},
): Response {
  const { next = toStart, code, back } = more
  return pageResponse({
    title,
    status,
    body: html`<h1>${title}</h1>
<p role="alert">${sentence}</p>
${code === undefined ? undefined : html`<p class="quiet">For the author of the program: <code>${code}</code></p>`}
${
  back === undefined
    ? undefined
    : html`<p class="note">The program waits at <code>${back.host}</code>. Nobody has checked that address: go there only if you know it.</p>
<p><a href="${back.href}" rel="noreferrer">Go back to ${back.host}</a></p>`
}
<p><a class="button" href="${next.href}">${next.label}</a></p>`,
  })
}

const toStart = { href: '/', label: 'To the start page' }

/** 303: whatever the request was, the browser gets the next page by GET. */
export function seeOther(location: string, headers: Record<string, string> = {}): Response {
  return new Response(null, {
    status: 303,
    headers: {
      location,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      ...headers,
    },
  })
}

/** Ours and constant, hashed in the policy: it must go out unescaped. */
const rawStyle = new Html(styleSheet)
