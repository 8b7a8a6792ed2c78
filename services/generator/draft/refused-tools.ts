/** Tools of an imported document that a build would refuse are left out, so that one of them does not cost the others (pure). */
import type { ServerSpec } from '@bmm/spec/server-spec'
import type { Finding } from '../scan/finding.ts'
import { operationFault } from './spec-consistency.ts'

/** Why a build would refuse a tool, by its index. */
export function refusedTools(
  { tools }: ServerSpec,
  findings: readonly Pick<Finding, 'path' | 'message'>[],
): Map<number, string> {
  const refused = new Map<number, string>()
  for (const { path, message } of findings) {
    const index = Number(/^\/tools\/(\d+)(?:\/|$)/.exec(path)?.[1] ?? Number.NaN)
    if (tools[index] !== undefined && !refused.has(index)) refused.set(index, message)
  }
  return refused
}

/** Also without the allowed operations that only these tools had. */
export function withoutTools(spec: ServerSpec, refused: ReadonlyMap<number, string>): ServerSpec {
  const tools = spec.tools.filter((_, index) => !refused.has(index))
  const gone = spec.tools.filter((_, index) => refused.has(index))
  const egress = spec.egress
    .map(({ origin, operations }) => ({
      origin,
      ...(operations && {
        operations: operations.filter((operation) => {
          const isOf = (tool: ServerSpec['tools'][number]) =>
            operationFault(tool, new Map([[origin, { origin, operations: [operation] }]])) ===
            undefined
          return !gone.some(isOf) || tools.some(isOf)
        }),
      }),
    }))
    .filter(({ operations }) => operations === undefined || operations.length > 0)
  const origins = new Set(egress.map(({ origin }) => origin))
  const credentials = spec.credentials.filter((credential) =>
    credential.origins.every((origin) => origins.has(origin)),
  )
  return { ...spec, tools, egress, credentials }
}
