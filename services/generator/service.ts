/** The generator's RPCs, registered together. */
import {
  BuildService,
  DraftService,
  ServerService,
  ServingService,
} from '@bmm/proto/generator/v1/generator_service'
import type { ConnectRouter } from '@connectrpc/connect'
import { type BuildServiceOptions, buildService } from './build/build-service.ts'
import { type DraftServiceOptions, draftService } from './draft/draft-service.ts'
import { type ServerServiceOptions, serverService } from './server/server-service.ts'
import { servingService } from './server/serving-service.ts'

export type GeneratorOptions = DraftServiceOptions & ServerServiceOptions & BuildServiceOptions

export function generatorRoutes(options: GeneratorOptions): (router: ConnectRouter) => void {
  return (router) => {
    router.service(DraftService, draftService(options))
    router.service(ServerService, serverService(options))
    router.service(BuildService, buildService(options))
    router.service(ServingService, servingService(options))
  }
}
