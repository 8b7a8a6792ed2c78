/** Small listings for tests of pure decisions. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import type { Decision } from './decision.ts'
import { listServer } from './tool-list.ts'

export const annotations = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: true,
}

export function tool(name: string, inputSchema: Record<string, unknown> = { type: 'object' }) {
  return { name, description: `Does ${name}.`, inputSchema, annotations, examples: [] }
}

export function spec(tools: ServerSpec['tools']): ServerSpec {
  return {
    specVersion: 1,
    name: 'Pets',
    description: '',
    instructions: 'Be kind.',
    tools,
    credentials: [],
    egress: [],
  }
}

export const digest = `sha256:${'ab'.repeat(32)}`
export const listed = listServer(spec([tool('echo'), tool('ping_pet')]), {
  slug: 'pets',
  version: 3,
  specDigest: digest,
})

export function bodyOf(decision: Decision) {
  if (decision.kind !== 'answer') throw new Error(`decided ${decision.kind}`)
  return { status: decision.status, ...JSON.parse(decision.body) }
}
