/** The Cookie header of a request (RFC 6265 section 5.4): one, with the broker's own cookies first and none of their names taken. */
import type { Header } from './binding.ts'

/** The `name=value` parts of all Cookie headers, and the other headers. */
export function takeCookies(headers: readonly Header[]): { others: Header[]; cookies: string[] } {
  const isCookie = ([name]: Header) => name.toLowerCase() === 'cookie'
  const cookies = headers.filter(isCookie).flatMap(([, value]) =>
    value
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )
  return { others: headers.filter((header) => !isCookie(header)), cookies }
}

/** Without cookies that some server would read under one of these names, however it cuts the header. */
export function withoutNames(cookies: readonly string[], names: readonly string[]): string[] {
  const taken = new Set(names.map(canonical))
  if (taken.size === 0) return [...cookies]
  return cookies.filter(
    (cookie) => !cookie.split(/[,"]/).some((part) => taken.has(canonical(nameOf(part)))),
  )
}

function nameOf(part: string): string {
  const name = part.split('=', 1)[0] ?? ''
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

/** PHP and others take several characters for `_`, and some readers ignore case. */
function canonical(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '-')
}
