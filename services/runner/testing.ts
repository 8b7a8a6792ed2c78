/** What the runner's tests start from: signed statements, specs and modules, and the peers' RPCs. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { newId } from '@bmm/lib/ids'
import { digestOf } from '@bmm/spec/digest'
import { type ServerSpec, serverSpecBytes, type ToolSpec } from '@bmm/spec/server-spec'
import {
  type ServeStatement,
  type SignedStatement,
  type StatementKeys,
  type StopStatement,
  signStatement,
} from '@bmm/spec/statement'
import {
  type Artefacts,
  type ServingDeployment,
  verifiedArtefacts,
} from './deployment/deployment.ts'

export type TestSigner = {
  keyId: string
  keys: StatementKeys
  privateKey: KeyObject
}

/** A statement key as the secrets service has one. */
export function testSigner(keyId = 'stk_test'): TestSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const der = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
  return { keyId, keys: new Map([[keyId, der]]), privateKey }
}

export type TestServer = {
  serverId: string
  orgId: string
  artefacts: Artefacts
}

/** A deployment that is nowhere stored. */
export function servingDeployment(
  signed: SignedStatement,
  statement: ServeStatement,
  artefacts: Artefacts,
): ServingDeployment {
  const { tools, artefact } = verifiedArtefacts(statement, artefacts)
  return { kind: 'serving', statement, signed, tools, artefact: async () => artefact }
}

/** A server of code tools: `implementations` maps tool names to module source of `async (input, ctx) => …`. */
export function testServer(
  implementations: Record<string, string> = { echo: 'async (input) => input.text' },
  ids: { serverId?: string; orgId?: string } = {},
): TestServer {
  const names = Object.keys(implementations)
  const spec = testSpec(names.map((name) => testTool(name)))
  return {
    serverId: ids.serverId ?? newId('srv'),
    orgId: ids.orgId ?? newId('org'),
    artefacts: { spec: serverSpecBytes(spec), module: testModule(implementations) },
  }
}

/** A compiled module as the generator makes it. */
function testModule(implementations: Record<string, string>): Uint8Array {
  const entries = Object.entries(implementations).map(
    ([name, code]) => `${JSON.stringify(name)}: ${code}`,
  )
  return new TextEncoder().encode(`export const tools = {\n${entries.join(',\n')}\n}\n`)
}

function testTool(name: string): ToolSpec {
  return {
    name,
    description: `The tool ${name}.`,
    inputSchema: { type: 'object' },
    annotations: {
      readOnlyHint: true,
      destructiveHint: false,
      idempotentHint: true,
      openWorldHint: false,
    },
    implementation: 'return input',
    examples: [],
  }
}

function testSpec(tools: ToolSpec[]): ServerSpec {
  return {
    specVersion: 1,
    name: 'Test',
    description: 'A server of a test.',
    tools,
    credentials: [],
    egress: [],
  }
}

export function serveStatement(
  server: TestServer,
  epoch: number,
  changes: Partial<ServeStatement> = {},
): ServeStatement {
  return {
    statementVersion: 1,
    kind: 'serve',
    serverId: server.serverId,
    orgId: server.orgId,
    epoch,
    issuedAt: '2026-11-22T00:00:00.000Z',
    resourceUrl: 'http://localhost/s/test/mcp',
    version: 1,
    specDigest: digestOf(server.artefacts.spec),
    moduleDigest: digestOf(server.artefacts.module),
    access: { kind: 'org' },
    egress: [],
    credentials: [],
    ...changes,
  }
}

export function stopStatement(
  server: TestServer,
  epoch: number,
  reason: StopStatement['reason'] = 'paused',
): StopStatement {
  const { serverId, orgId } = server
  const issuedAt = '2026-11-22T00:00:00.000Z'
  return { statementVersion: 1, kind: 'stop', serverId, orgId, epoch, issuedAt, reason }
}

export function signedBy(
  signer: TestSigner,
  statement: ServeStatement | StopStatement,
): SignedStatement {
  return signStatement(statement, signer.privateKey, signer.keyId)
}
