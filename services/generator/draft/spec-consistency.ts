/** What a spec may say only together: every operation and credential stays within the origins that the person sees (pure). */
import type { ServerSpec, ToolSpec } from '@bmm/spec/server-spec'

export type SpecFault = { path: string; message: string }

/** The origin of a URL template; templates may stand in path and query only. */
const templateOrigin = /^(https?:\/\/[^/?#{}\\@\s]+)(\/[^?]*)?/

/** The first contradiction, or undefined. */
export function consistencyFault(spec: ServerSpec): SpecFault | undefined {
  const egress = new Map(spec.egress.map((entry) => [entry.origin, entry]))
  for (const [index, tool] of spec.tools.entries()) {
    const message = operationFault(tool, egress)
    if (message !== undefined) return { path: `/tools/${index}/operation/url`, message }
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

/** Why an imported tool would call what its server may not; undefined for a tool with code. */
export function operationFault(
  { name, operation }: ToolSpec,
  egress: ReadonlyMap<string, ServerSpec['egress'][number]>,
): string | undefined {
  if (operation === undefined) return undefined
  const [, origin = '', urlPath = '/'] = templateOrigin.exec(operation.url) ?? []
  if (!egress.has(origin) && !isOrigin(origin)) {
    return `The tool ${name} has a URL without a plain origin.`
  }
  const allowed = egress.get(origin)
  if (allowed === undefined) return `The tool ${name} calls ${origin}, which is not in egress.`
  const { method } = operation
  const isListed =
    allowed.operations?.some((o) => o.method === method && covers(o.path, urlPath)) ?? true
  return isListed
    ? undefined
    : `The tool ${name} calls ${method} ${urlPath}, which egress leaves out.`
}

/** What egress lists is an origin by its schema. */
function isOrigin(origin: string): boolean {
  return URL.canParse(origin) && new URL(origin).origin === origin
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
