/** Stand-ins for the services behind the gateway: real RPC and frames, answers from the test's world. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { CallHeader, Verdict } from '@bmm/lib/call-frames'
import { notFound } from '@bmm/lib/errors'
import { listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, parseCall, parseControl } from '@bmm/lib/frames'
import type { TestRpc } from '@bmm/lib/testing'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { SignedStatement } from '@bmm/spec/statement'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'

export type ToolContext = {
  header: CallHeader
  args: unknown
  signal: AbortSignal
  progress(step: { progress: number; total?: number; message?: string }): void
}
/** The result bytes of a call, as JSON text; or a failure. */
export type FakeTool = (
  context: ToolContext,
) => Promise<string | { code: string; message: string }> | string

/** What tests change while everything runs. */
export type World = {
  servings: Map<string, { slug: string; statement: SignedStatement; epoch: number; seq: bigint }>
  artefacts: Map<string, Uint8Array>
  revoked: { grantId: string; at: number }[]
  /** A sentence while the RPCs of that service are to fail. */
  broken: Set<'revocations' | 'servings' | 'jwks' | 'artefacts'>
  tools: Map<string, FakeTool>
  /** Headers of the calls that reached the runner. */
  calls: CallHeader[]
  /** What the gateway told the runner of answers and of calls that it turned away. */
  verdicts: Verdict[]
  /** Calls that the gateway cancelled, by tool. */
  cancelled: string[]
  artefactRequests: number
}

export type StandInOptions = {
  /** Further methods of the authorization server. */
  oauth?: Partial<ServiceImpl<typeof OAuthService>>
  /** Further methods of the signer. */
  statements?: Partial<ServiceImpl<typeof StatementService>>
  /** Further services, such as sessions, drafts and servers. */
  routes?: (
    name: 'auth' | 'generator' | 'secrets' | 'runner' | 'broker',
    router: ConnectRouter,
  ) => void
}

export type StandInKeys = { jwks: () => Record<string, unknown>[]; statementKey: Buffer }

export function serveStandIns(
  rpc: TestRpc,
  world: World,
  options: StandInOptions,
  keys: StandInKeys,
): void {
  const check = (part: Parameters<World['broken']['has']>[0]) => {
    if (world.broken.has(part)) throw new Error(`${part} are broken by the test`)
  }
  rpc.serve('auth', (router) => {
    router.service(OAuthService, {
      getJwks() {
        check('jwks')
        return { jwks: new TextEncoder().encode(JSON.stringify({ keys: keys.jwks() })) }
      },
      listRevocations({ after }) {
        check('revocations')
        const revocations = world.revoked
          .slice(Number(after))
          .map(({ grantId, at }) => ({ grantId, revokedAt: timestampFromMs(at) }))
        return { revocations, cursor: BigInt(world.revoked.length) }
      },
      ...options.oauth,
    })
    options.routes?.('auth', router)
  })
  rpc.serve('secrets', (router) => {
    router.service(StatementService, {
      listStatementKeys: () => ({ keys: [{ keyId: 'key-1', publicKey: keys.statementKey }] }),
      ...options.statements,
    })
    options.routes?.('secrets', router)
  })
  rpc.serve('generator', (router) => {
    router.service(ServingService, {
      listServings({ afterSeq }) {
        check('servings')
        const servings = [...world.servings]
          .map(([serverId, serving]) => ({ serverId, ...serving, epoch: BigInt(serving.epoch) }))
          .filter(({ seq }) => seq > afterSeq)
        return { servings: servings.sort((a, b) => Number(a.seq - b.seq)) }
      },
      getServing({ slug }) {
        check('servings')
        for (const [serverId, serving] of world.servings) {
          if (serving.slug === slug) {
            return { serving: { serverId, ...serving, epoch: BigInt(serving.epoch) } }
          }
        }
        throw notFound('server_not_found', 'There is no such server.')
      },
      getArtefact({ specDigest }) {
        check('artefacts')
        world.artefactRequests++
        const spec = world.artefacts.get(specDigest)
        if (spec === undefined) throw notFound('artefact_not_found', 'There is none.')
        return { spec, module: new Uint8Array() }
      },
    })
    options.routes?.('generator', router)
  })
  rpc.serve('runner', (router) => options.routes?.('runner', router))
  rpc.serve('broker', (router) => options.routes?.('broker', router))
}

/** Speaks the runner's side of `calls.sock`; tools are functions of the test. */
export function listenAsRunner(rpcDir: string, world: World): { stop(): void } {
  mkdirSync(join(rpcDir, 'runner'), { recursive: true })
  const connections = new Set<{ end(reason: string): void }>()
  const listener = listenFrames({
    unix: join(rpcDir, 'runner', 'calls.sock'),
    mode: 0o600,
    onConnection() {
      const running = new Map<number, { header: CallHeader; controller: AbortController }>()
      return {
        accept: [FRAME.HELLO, FRAME.CALL, FRAME.CANCEL, FRAME.VERDICT],
        onOpen: (connection) => void connections.add(connection),
        onFrame(frame, connection) {
          if (frame.type === FRAME.HELLO) {
            const { jwt } = parseControl(frame.payload) as { jwt?: string }
            if (jwt === undefined) connection.end('no token')
            return
          }
          if (frame.type === FRAME.VERDICT) {
            world.verdicts.push(parseControl(frame.payload) as Verdict)
            return
          }
          if (frame.type === FRAME.CANCEL) {
            const call = running.get(frame.call)
            if (call === undefined) return
            world.cancelled.push(call.header.tool)
            call.controller.abort()
            return
          }
          const { header, args } = parseCall(frame.payload)
          const call = { header: header as CallHeader, controller: new AbortController() }
          running.set(frame.call, call)
          world.calls.push(call.header)
          const context: ToolContext = {
            header: call.header,
            args: JSON.parse(new TextDecoder().decode(args)),
            signal: call.controller.signal,
            progress: (step) => void connection.sendControl(FRAME.PROGRESS, frame.call, step),
          }
          void answer(context, world).then((result) => {
            running.delete(frame.call)
            if (typeof result !== 'string') {
              connection.sendControl(FRAME.FAILED, frame.call, result)
              return
            }
            connection.sendResult(frame.call, result)
          })
        },
      }
    },
  })
  return {
    stop() {
      listener.stop()
      for (const connection of connections) connection.end('the test stops the runner')
    },
  }
}

async function answer(context: ToolContext, world: World) {
  const tool = world.tools.get(context.header.tool)
  if (tool !== undefined) return tool(context)
  return JSON.stringify({ content: [{ type: 'text', text: JSON.stringify(context.args) }] })
}
