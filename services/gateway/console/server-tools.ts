/** REST: the tools of a server, as its spec describes them. */
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import { Permission } from '@bmm/proto/v1/options'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import type { People } from './person.ts'

export type ServerToolRoutesOptions = { servers: Client<typeof ServerService>; people: People }

const jsonObject = z.record(z.string(), z.unknown())
/** A tool without its code, which is for the sandbox only. */
const toolAnswer = z
  .object({
    name: z.string(),
    title: z.string().optional(),
    description: z.string(),
    inputSchema: jsonObject.describe('JSON Schema 2020-12 of the arguments.'),
    outputSchema: jsonObject.optional(),
    annotations: jsonObject,
  })
  .meta({ id: 'Tool' })
const specSchema = z.object({ tools: z.array(toolAnswer) })

export function serverToolRoutes({ servers, people }: ServerToolRoutesOptions) {
  return new Elysia({ name: 'server-tool-routes', prefix: '/v1', normalize: false }).get(
    '/servers/:server/tools',
    async ({ request, params }) => {
      const person = await people.as(request, ['generator'], {
        permissions: [Permission.SERVERS_READ],
      })
      const { spec } = await servers.getServerSpec({ server: params.server }, person)
      return specSchema.parse(JSON.parse(new TextDecoder().decode(spec)))
    },
    {
      response: { 200: specSchema },
      detail: {
        summary: 'Its tools: of the live version, or of the newest one when none is live',
        tags: ['servers'],
      },
    },
  )
}
