/** The one canonical URL of a server: its OAuth resource, token audience and MCP endpoint (RFC 8707, RFC 9728). */

export const slugPattern = /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/

const reservedSlugs = new Set([
  'admin',
  'api',
  'app',
  'auth',
  'billing',
  'bmm',
  'console',
  'docs',
  'health',
  'help',
  'login',
  'mail',
  'mcp',
  'oauth',
  'openapi',
  'registry',
  'root',
  'security',
  'server',
  'servers',
  'settings',
  'static',
  'status',
  'support',
  'system',
  'token',
  'well-known',
  'www',
])

/** Why a slug cannot be had, as a sentence; undefined when it is well formed and free to ask for. */
export function slugFault(slug: string): string | undefined {
  if (!slugPattern.test(slug)) {
    return 'A slug has 3 to 40 lower-case letters, digits and hyphens, starts with a letter and does not end with a hyphen.'
  }
  return reservedSlugs.has(slug) ? `The slug "${slug}" is reserved. Choose another.` : undefined
}

/** `https://host/s/{slug}/mcp` on the given public origin (no trailing slash). */
export function resourceUrl(publicOrigin: string, slug: string): string {
  return `${publicOrigin}/s/${slug}/mcp`
}

/** RFC 9728 section 3.1: the well-known segment goes between host and path. */
export function resourceMetadataUrl(publicOrigin: string, slug: string): string {
  return `${publicOrigin}/.well-known/oauth-protected-resource/s/${slug}/mcp`
}

const resourcePattern = /^([a-z]+:\/\/[^/?#@\\\s]+)\/s\/([^/?#]+)\/mcp\/?$/i

/** The slug in a resource URL of this origin, or undefined. Query and fragment are refused (RFC 8707 section 2). */
export function slugFromResource(publicOrigin: string, resource: string): string | undefined {
  // Scheme and host have no case (RFC 3986 section 6.2.2.1), and the endpoint takes one slash at its end.
  const [, origin = '', slug = ''] = resourcePattern.exec(resource) ?? []
  if (!slugPattern.test(slug) || !URL.canParse(origin)) return undefined
  return new URL(origin).origin === new URL(publicOrigin).origin ? slug : undefined
}
