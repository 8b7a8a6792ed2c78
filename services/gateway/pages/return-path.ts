/** Where a browser goes after signing in: a path of ours, never another site. */

const MAX_PATH = 4_096

/** The path, or '' when the text could lead anywhere else. */
export function returnPath(text: string | undefined): string {
  if (text === undefined || text.length > MAX_PATH || !text.startsWith('/')) return ''
  // Browsers read `//host`, `/\host` and paths with tabs or line breaks in them as other hosts.
  if (!/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(text)) return ''
  return URL.canParse(text, 'http://localhost') &&
    new URL(text, 'http://localhost').origin === 'http://localhost'
    ? text
    : ''
}
