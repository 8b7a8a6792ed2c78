/** Every RPC of the platform with its access rule, read from the contracts. */

import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { ClientService } from '@bmm/proto/auth/v1/client_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { RefusalService, TargetService } from '@bmm/proto/broker/v1/broker_service'
import {
  BuildService,
  DraftService,
  ServerService,
  ServingService,
} from '@bmm/proto/generator/v1/generator_service'
import { DeploymentService, LogService } from '@bmm/proto/runner/v1/runner_service'
import { StatsService } from '@bmm/proto/runner/v1/stats_service'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { Permission } from '@bmm/proto/v1/options'
import type { DescMethod, DescService } from '@bufbuild/protobuf'
import type { ServiceName } from './identity.ts'
import { accessRule, methodPath } from './rpc-rules.ts'

/** Which process serves which contracts. */
export const contracts: Readonly<Record<string, readonly DescService[]>> = {
  auth: [SessionService, OAuthService, ClientService],
  secrets: [SecretsService, StatementService],
  generator: [DraftService, ServerService, BuildService, ServingService],
  runner: [DeploymentService, LogService, StatsService],
  broker: [TargetService, RefusalService],
} satisfies Partial<Record<ServiceName, readonly DescService[]>>

export type AccessRow = {
  process: string
  method: DescMethod
  path: string
  callers: ServiceName[]
  permission: Permission
}

/** One row an RPC, in the order of the contracts. */
export function accessTable(): AccessRow[] {
  return Object.entries(contracts).flatMap(([process, services]) =>
    services.flatMap((service) =>
      service.methods.map((method) => ({
        process,
        method,
        path: methodPath(method),
        ...accessRule(method),
      })),
    ),
  )
}
