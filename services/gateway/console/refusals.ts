/** REST: what a server's tools wanted to send and the broker did not let out. */
import type { RefusalService } from '@bmm/proto/broker/v1/broker_service'
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import { Permission } from '@bmm/proto/v1/options'
import { refusalsAnswer } from '@bmm/spec/rest-answer'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { present, timeText } from './answer.ts'
import type { People } from './person.ts'

export type RefusalRoutesOptions = {
  refusals: Client<typeof RefusalService>
  servers: Client<typeof ServerService>
  people: People
}

export function refusalRoutes({ refusals, servers, people }: RefusalRoutesOptions) {
  return new Elysia({ name: 'refusal-routes', prefix: '/v1', normalize: false }).get(
    '/servers/:server/refusals',
    async ({ request, params }) => {
      const person = await people.as(request, ['generator', 'broker'], {
        permissions: [Permission.LOGS_READ],
      })
      // By an id, too: the broker knows no servers, and would tell a foreign one as one without refusals.
      const { server } = await servers.getServer({ server: params.server }, person)
      const found = await refusals.listRefusals({ serverId: present(server).id }, person)
      return {
        refusals: found.refusals.map(({ at, reason, method, host, message }) => ({
          ...{ at: timeText(at), reason, method, host, message },
        })),
      }
    },
    {
      response: { 200: refusalsAnswer },
      detail: { summary: 'Requests that were refused, newest first', tags: ['logs'] },
    },
  )
}
