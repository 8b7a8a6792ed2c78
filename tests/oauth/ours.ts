/** Our side: the running stack with two servers of one person, and her browser. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { type Account, ask, serve, signUp } from '../account.ts'
import type { Stack } from '../stack.ts'
import { openStackSql } from '../traces.ts'
import { openSide, type Side } from './side.ts'

const spec: ServerSpec = {
  specVersion: 1,
  name: 'Echo',
  description: 'Says it again.',
  tools: [
    {
      name: 'echo',
      description: 'Says it again.',
      inputSchema: { type: 'object', properties: {}, additionalProperties: false },
      implementation: `return 'again'`,
      examples: [],
      annotations: {
        readOnlyHint: true,
        destructiveHint: false,
        idempotentHint: true,
        openWorldHint: false,
      },
    },
  ],
  credentials: [],
  egress: [],
}

/** Makes the servers and registers the clients. */
export async function openOurs(stack: Stack): Promise<{ side: Side; person: Account }> {
  const person = await signUp(stack, 'refusals@example.com')
  const first = await serve(person, { source: { spec }, slug: 'refusals-a' })
  const second = await serve(person, { source: { spec }, slug: 'refusals-b' })
  const side = await openSide({
    issuer: stack.gateway,
    resource: first.url,
    otherResource: second.url,
    open: ({ authorization, query = '' }) =>
      ask(`${first.url}${query}`, 'POST', {
        body: { jsonrpc: '2.0', id: 1, method: 'tools/list' },
        headers: authorization === undefined ? {} : { authorization },
      }),
    signedIn: () => person.browser,
    // A minute is a long time in a test, so the code is made older.
    outlive: async () => {
      const sql = openStackSql(stack)
      try {
        await sql`update auth.authorization_codes set expires_at = now() where consumed_at is null`
      } finally {
        await sql.end({ timeout: 5 })
      }
    },
  })
  return { side, person }
}
