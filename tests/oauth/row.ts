/** A row of the table: one request, how we answer it, and where and why oidc-provider answers otherwise. */
import type { Answer } from '../account.ts'
import type { Ending, Side } from './side.ts'

/**
 * How it ended, in a few words: `400 invalid_grant` from an endpoint for programs, `page 400 invalid_request` for a
 * person, `redirect invalid_scope` for the client; without a refusal `200 …` or `redirect code`.
 */
export type Outcome = string

export type Row = {
  /** What is wrong with the request. */
  name: string
  send(side: Side): Promise<Answer | Ending>
  ours: Outcome
  /** Only where it differs, with the sentence that says why ours is right. */
  oracle?: { answers: Outcome; because: string }
}

export const postOnly =
  'An endpoint that takes only POST exists by every method: 405 with Allow says which method to use (RFC 9110 15.5.6).'

/** The row's request at one side. */
export async function outcomeOf(row: Row, side: Side): Promise<Outcome> {
  const found = await row.send(side)
  if ('callback' in found) {
    const { searchParams, hash } = found.callback
    const sent = searchParams.has('error') ? searchParams : new URLSearchParams(hash.slice(1))
    return `redirect ${sent.get('error') ?? (searchParams.has('code') ? 'code' : 'nothing')}`
  }
  if ('page' in found) {
    const { status, html } = found.page
    return `page ${status} ${codeOnPage(html)}`.trim()
  }
  return `${found.status} ${errorOf(found)}`.trim()
}

/** RFC 6750 puts the code into the challenge; everybody else into a JSON body. */
function errorOf(answer: Answer): string {
  const challenged = /error="([a-z_]+)"/.exec(answer.headers.get('www-authenticate') ?? '')?.[1]
  const { json } = answer
  if (challenged !== undefined) return challenged
  if (typeof json !== 'object' || json === null) return ''
  if ('error' in json && typeof json.error === 'string') return json.error
  if ('active' in json) return json.active === true ? 'active' : 'inactive'
  return ''
}

function codeOnPage(html: string): string {
  return (
    /author of the program: <code>([a-z_]+)<\/code>/.exec(html)?.[1] ??
    /"error":"([a-z_]+)"/.exec(html)?.[1] ??
    ''
  )
}
