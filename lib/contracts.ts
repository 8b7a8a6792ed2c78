/** Every RPC of the platform with its access rule, read from the contracts. */

import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { ClientService } from '@bmm/proto/auth/v1/client_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import { RefusalService, TargetService } from '@bmm/proto/broker/v1/broker_service'
import { ToolService } from '@bmm/proto/gateway/v1/tool_service'
import {
  BuildService,
  DraftService,
  ServerService,
  ServingService,
} from '@bmm/proto/generator/v1/generator_service'
import { DeploymentService, LogService } from '@bmm/proto/runner/v1/runner_service'
import { StatsService } from '@bmm/proto/runner/v1/stats_service'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { DescMethod, DescService } from '@bufbuild/protobuf'
import { type ServiceName, serviceNames } from './identity.ts'
import { type AccessRule, accessRule, methodPath } from './rpc-rules.ts'

/** Which process serves which contracts. */
export const contracts = {
  auth: [SessionService, OAuthService, ClientService, ServiceTokenService],
  secrets: [SecretsService, StatementService],
  generator: [DraftService, ServerService, BuildService, ServingService],
  runner: [DeploymentService, LogService, StatsService],
  broker: [TargetService, RefusalService],
} as const satisfies Partial<Record<ServiceName, readonly DescService[]>>

/** What the gateway answers itself on its gRPC port; no service calls these. */
const edgeContracts: readonly DescService[] = [ToolService]

export type AccessRow = AccessRule & {
  process: ServiceName
  method: DescMethod
  path: string
}

/** One row an RPC between services, in the order of the contracts. */
export function accessTable(): AccessRow[] {
  return serviceNames
    .filter((process) => isServing(process))
    .flatMap((process) => rowsOf(process, contracts[process]))
}

/** One row for each RPC that strangers may call on the gRPC port: all that is not here is refused there. */
export function externalTable(): AccessRow[] {
  return [...accessTable(), ...rowsOf('gateway', edgeContracts)].filter((row) => row.external)
}

function isServing(process: ServiceName): process is keyof typeof contracts {
  return Object.hasOwn(contracts, process)
}

function rowsOf(process: ServiceName, services: readonly DescService[]): AccessRow[] {
  return services.flatMap((service) =>
    service.methods.map((method) => ({
      process,
      method,
      path: methodPath(method),
      ...accessRule(method),
    })),
  )
}
