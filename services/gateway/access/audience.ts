/** The services that the gateway shows a person's token to. */
import type { AccessRow } from '@bmm/lib/contracts'
import { Service } from '@bmm/proto/v1/options'

export type Audience = keyof typeof audienceServices

export const audienceServices = {
  generator: Service.GENERATOR,
  secrets: Service.SECRETS,
  runner: Service.RUNNER,
  broker: Service.BROKER,
} as const

/** Who sees the token behind an external call: the service that answers it, and those that it says. */
export function audiencesOf(row: Pick<AccessRow, 'process' | 'forwardsTo' | 'path'>): Audience[] {
  return [row.process, ...row.forwardsTo]
    .filter((name) => name !== 'gateway')
    .map((name) => {
      if (isAudience(name)) return name
      throw new Error(`${row.path} is external and ${name} takes no person's token`)
    })
}

function isAudience(name: string): name is Audience {
  return Object.hasOwn(audienceServices, name)
}
