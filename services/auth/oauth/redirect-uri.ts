/** Redirect URIs: which may be registered, and when a presented one is a registered one. */

const MAX_LENGTH = 2_048

/** RFC 8252 section 7.3, and `localhost`, which most installed MCP clients use. */
const loopbackUri = /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(?::\d{1,5})?((?:[/?][^#]*)?)$/
/** RFC 8252 section 7.1: a scheme of the application's own, then a path. */
const privateUseUri = /^([a-z][a-z0-9+.-]{1,63}):\/[^#]+$/
const webUri = /^https:\/\/[^/?#@\\]+([/?][^#]*)?$/

/** Schemes that a browser or an operating system acts on by itself: never an application of its own. */
const foreignSchemes = new Set(
  `about acap afp blob callto chrome chrome-extension cid content data devtools dns edge facetime
  feed file filesystem ftp ftps geo git gopher http https imap intent itms-services jar javascript
  ldap ldaps livescript magnet mailto mhtml mid moz-extension mms nfs news nntp pop rdp res resource
  rtsp search search-ms shell sftp sip sips sms smb smsto ssh steam tel telnet tftp urn vbscript
  view-source wais ws wss wyciwyg xmpp`.split(/\s+/),
)
/** The parameters that this server adds: a registered URI must not pretend them. */
const answerParameters = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri']

/** Why a URI cannot be registered, as a sentence without it; undefined when it can. */
export function redirectUriFault(uri: string): string | undefined {
  if (uri.length > MAX_LENGTH) return `A redirect URI has at most ${MAX_LENGTH} characters.`
  if (!/^[\x21-\x7e]+$/.test(uri) || /["<>\\^`{|}]/.test(uri)) {
    return 'A redirect URI consists of the characters of RFC 3986.'
  }
  if (uri.includes('#')) return 'A redirect URI has no fragment.'
  if (!URL.canParse(uri)) return 'A redirect URI is an absolute URI.'
  const url = new URL(uri)
  if (url.username !== '' || url.password !== '') return 'A redirect URI has no user information.'
  if (answerParameters.some((name) => url.searchParams.has(name))) {
    return 'A redirect URI has no parameter that the answer sets.'
  }
  return schemeFault(uri)
}

/**
 * Whether the presented URI is the registered one: exact comparison of strings (RFC 9700 section 2.1),
 * except that the port of a loopback URI is free (RFC 8252 section 7.3).
 */
export function isRegisteredRedirect(registered: string, presented: string): boolean {
  if (registered === presented) return true
  const known = loopbackUri.exec(registered)
  const given = loopbackUri.exec(presented)
  if (known === null || given === null || redirectUriFault(presented) !== undefined) return false
  return known[1] === given[1] && known[2] === given[2]
}

/** Whether the answer stays on the person's own machine (RFC 8252 section 7.3). */
export function isLoopbackRedirect(uri: string): boolean {
  return loopbackUri.test(uri)
}

/** What the consent page names as the receiver of the code: a host, or the scheme of an application. */
export function redirectTarget(uri: string): string {
  const url = new URL(uri)
  const web = url.protocol === 'https:' || url.protocol === 'http:'
  return web ? url.host : url.protocol.slice(0, -1)
}

/** The URI with the answer's parameters; what it was registered with stays as it is. */
export function redirectWith(uri: string, answer: Record<string, string | undefined>): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(answer)) {
    if (value !== undefined) parameters.append(name, value)
  }
  return `${uri}${uri.includes('?') ? '&' : '?'}${parameters}`
}

function schemeFault(uri: string): string | undefined {
  if (webUri.test(uri) || loopbackUri.test(uri)) return undefined
  const scheme = privateUseUri.exec(uri)?.[1]
  if (scheme === undefined || foreignSchemes.has(scheme) || scheme.startsWith('ms-')) {
    return 'A redirect URI is https, http on a loopback address, or has the scheme of an application.'
  }
  return undefined
}
