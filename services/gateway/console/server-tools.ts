/** REST: the tools of a server, as its spec describes them. */
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import { Permission } from '@bmm/proto/v1/options'
import { toolsAnswer } from '@bmm/spec/rest-answer'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import type { People } from './person.ts'

export type ServerToolRoutesOptions = { servers: Client<typeof ServerService>; people: People }

export function serverToolRoutes({ servers, people }: ServerToolRoutesOptions) {
  return new Elysia({ name: 'server-tool-routes', prefix: '/v1', normalize: false }).get(
    '/servers/:server/tools',
    async ({ request, params }) => {
      const person = await people.as(request, ['generator'], {
        permissions: [Permission.SERVERS_READ],
      })
      const { spec } = await servers.getServerSpec({ server: params.server }, person)
      return toolsAnswer.parse(JSON.parse(new TextDecoder().decode(spec)))
    },
    {
      response: { 200: toolsAnswer },
      detail: {
        summary: 'Its tools: of the live version, or of the newest one when none is live',
        tags: ['servers'],
      },
    },
  )
}
