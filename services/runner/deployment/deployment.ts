/** What may run: the newest verified statement of each server with the artefacts that its digests name. */
import { invalid, precondition } from '@bmm/lib/errors'
import { nestingOf } from '@bmm/lib/frames'
import { digestOf } from '@bmm/spec/digest'
import {
  MAX_BUILD_TOOLS,
  parseServerSpec,
  type ServerSpec,
  type ToolSpec,
} from '@bmm/spec/server-spec'
import {
  openStatement,
  type ServeStatement,
  type SignedStatement,
  type Statement,
  type StatementKeys,
  type StopStatement,
} from '@bmm/spec/statement'

/** Serialising recurses; no sound schema comes near. */
const MAX_SPEC_DEPTH = 512

export type ServingDeployment = {
  kind: 'serving'
  statement: ServeStatement
  signed: SignedStatement
  tools: readonly string[]
  /** What a sandbox is loaded with. Rejects when it has to be read first and cannot be. */
  artefact(): Promise<LoadArtefact>
}

/** The spec's tools without implementations as a JSON array, and the compiled module (may be empty). */
export type LoadArtefact = {
  tools: Uint8Array
  module: Uint8Array
}

/** Remembered for its epoch: nothing older of this server may come back. */
export type StoppedDeployment = {
  kind: 'stopped'
  statement: StopStatement
  signed: SignedStatement
}

export type Deployment = ServingDeployment | StoppedDeployment

/** The bytes that a serve statement's digests name. */
export type Artefacts = {
  spec: Uint8Array
  module: Uint8Array
}

/** How a statement stands to the newest one known of its server. */
export type Standing = 'newer' | 'same' | 'stale'

/** Equal epochs are only the same statement when their bytes are: a second one at that epoch is refused. */
export function standingOf(
  signed: SignedStatement,
  statement: Statement,
  current: Deployment | undefined,
): Standing {
  if (current === undefined || statement.epoch > current.statement.epoch) return 'newer'
  if (statement.epoch < current.statement.epoch) return 'stale'
  return Buffer.compare(signed.bytes, current.signed.bytes) === 0 ? 'same' : 'stale'
}

/** The statement behind a signature; throws `statement_invalid`. */
export function verifiedStatement(signed: SignedStatement, keys: StatementKeys): Statement {
  const statement = openStatement(signed, keys)
  if (statement === undefined) {
    throw invalid('statement_invalid', 'The statement is not signed by a key of this installation.')
  }
  return statement
}

/** A server never changes its organisation, whatever is signed; throws `statement_invalid`. */
export function checkOwner(statement: Statement, current: Deployment | undefined): void {
  if (current !== undefined && current.statement.orgId !== statement.orgId) {
    throw invalid('statement_invalid', 'The statement names another organisation than before.')
  }
}

/** Throws `stale_epoch`. */
export function staleEpoch(statement: Statement, current: Deployment | undefined) {
  return precondition(
    'stale_epoch',
    `Epoch ${statement.epoch} is not newer than epoch ${current?.statement.epoch ?? 0} of this server.`,
  )
}

/** What the digests of a statement name, checked; throws `digest_mismatch` or `spec_invalid`. */
export function verifiedArtefacts(
  statement: ServeStatement,
  { spec, module }: Artefacts,
): { tools: string[]; artefact: LoadArtefact } {
  if (digestOf(spec) !== statement.specDigest) {
    throw invalid('digest_mismatch', 'The spec is not the one that the statement names.')
  }
  if (digestOf(module) !== statement.moduleDigest) {
    throw invalid('digest_mismatch', 'The module is not the one that the statement names.')
  }
  const { tools } = parsedSpec(spec)
  return { tools: tools.map((tool) => tool.name), artefact: loadArtefact(tools, module) }
}

/** Bytes of their own: those of a message or a row are views that would keep all of it in memory. */
export function ownSigned({ bytes, signature, keyId }: SignedStatement): SignedStatement {
  return { bytes: new Uint8Array(bytes), signature: new Uint8Array(signature), keyId }
}

/** Only what the guest needs: names, schemas and operations. */
export function loadArtefact(tools: ToolSpec[], module: Uint8Array): LoadArtefact {
  const needed = tools.map(({ name, inputSchema, outputSchema, operation }) => ({
    ...{ name, inputSchema, outputSchema, operation },
  }))
  // A copy, since the module is a view of the whole message or row that brought it.
  const own = new Uint8Array(module)
  return { tools: new TextEncoder().encode(JSON.stringify(needed)), module: own }
}

/** A spec that may be loaded; throws `spec_invalid`. */
export function parsedSpec(bytes: Uint8Array): ServerSpec {
  if (nestingOf(bytes) > MAX_SPEC_DEPTH) {
    throw invalid('spec_invalid', `A spec is nested at most ${MAX_SPEC_DEPTH} levels deep.`)
  }
  let spec: ServerSpec
  try {
    spec = parseServerSpec(bytes)
  } catch (cause) {
    throw invalid('spec_invalid', 'The spec does not follow the schema of a server.', { cause })
  }
  if (spec.tools.length > MAX_BUILD_TOOLS) {
    throw invalid('spec_invalid', `A server has at most ${MAX_BUILD_TOOLS} tools.`)
  }
  return spec
}
