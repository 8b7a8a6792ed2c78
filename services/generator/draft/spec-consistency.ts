/** What a spec may say only together: every operation and credential stays within the origins that the person sees (pure). */
import type { ServerSpec } from '@bmm/spec/server-spec'

export type SpecFault = { path: string; message: string }

/** The origin of a URL template; templates may stand in path and query only. */
const templateOrigin = /^(https?:\/\/[^/?#{}\\@\s]+)(\/[^?]*)?/

/** The first contradiction, or undefined. */
export function consistencyFault(spec: ServerSpec): SpecFault | undefined {
  const egress = new Map(spec.egress.map((entry) => [entry.origin, entry]))
  for (const [index, { name, operation }] of spec.tools.entries()) {
    if (operation === undefined) continue
    const path = `/tools/${index}/operation/url`
    const [, origin = '', urlPath = '/'] = templateOrigin.exec(operation.url) ?? []
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      return { path, message: `The tool ${name} has a URL without a plain origin.` }
    }
    const allowed = egress.get(origin)
    if (allowed === undefined) {
      return { path, message: `The tool ${name} calls ${origin}, which is not in egress.` }
    }
    const { operations } = allowed
    const { method } = operation
    const isListed = operations?.some((o) => o.method === method && covers(o.path, urlPath)) ?? true
    if (!isListed) {
      return {
        path,
        message: `The tool ${name} calls ${method} ${urlPath}, which egress leaves out.`,
      }
    }
  }
  for (const [index, { name, origins }] of spec.credentials.entries()) {
    const foreign = origins.findIndex((origin) => !egress.has(origin))
    if (foreign !== -1) {
      return {
        path: `/credentials/${index}/origins/${foreign}`,
        message: `The credential ${name} goes to ${origins[foreign]}, which is not in egress.`,
      }
    }
  }
  return unknownCredential(spec)
}

function unknownCredential({ egress, credentials }: ServerSpec): SpecFault | undefined {
  const names = new Set(credentials.map(({ name }) => name))
  for (const [index, { operations }] of egress.entries()) {
    for (const [at, operation] of (operations ?? []).entries()) {
      const unknown = operation.credentials?.find((name) => !names.has(name))
      if (unknown === undefined) continue
      return {
        path: `/egress/${index}/operations/${at}/credentials`,
        message: `${operation.method} ${operation.path} names the credential ${unknown}, which the spec does not have.`,
      }
    }
  }
  return undefined
}

/** The same template, perhaps with `{+x}` for `{x}`: a value that may hold slashes, which travel as `%2F`. */
function covers(allowed: string, wanted: string): boolean {
  const plain = (path: string) => path.replaceAll('{+', '{')
  const opens = (path: string) => [...path.matchAll(/\{(\+?)/g)].map(([, plus]) => plus === '+')
  const allowing = opens(allowed)
  return plain(allowed) === plain(wanted) && opens(wanted).every((own, at) => !own || allowing[at])
}
