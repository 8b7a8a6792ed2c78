/** One whole document: each of its tools judged, each operation accounted for. */
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import type { CredentialSpec, OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { documentReader, type Located } from './document-reader.ts'
import { roundTrips } from './examples.ts'
import type { Json } from './json.ts'
import { judgeTool } from './judgement.ts'
import { noCounts, type Outcome, type ToolFault } from './outcome.ts'
import { schemaReader } from './schema-reader.ts'
import { toolFaults } from './tool-faults.ts'
import { inputReader } from './tool-schema.ts'

const documentUrl = 'https://api.example.com/openapi.json'

/** Every tool of it, or each `of`-th one, from the `index`-th on: large documents are judged in parts. */
export function judgeDocument(
  name: string,
  text: string,
  document: Json,
  part = { index: 0, of: 1 },
): Outcome {
  const begun = performance.now()
  const { spec, refusals } = draftFromOpenApi(text, { documentUrl })
  const reader = documentReader(document)
  const schemas = schemaReader(document)
  const accepts = inputReader()
  const elsewhere = new Set(spec.credentials.flatMap(placeOf))
  const find = finder(reader.operations)
  const judged: Outcome = {
    ...noCounts,
    document: name,
    operations: part.index === 0 ? reader.operations.length : 0,
    refused: part.index === 0 ? refusals.length : 0,
    exceptions: [],
    tookMs: 0,
  }
  for (const [index, tool] of spec.tools.entries()) {
    if (!isImported(tool)) continue
    const located = find(tool)
    if (index % part.of !== part.index) continue
    judged.tools += 1
    const except = (fault: ToolFault) => {
      const operation = located === undefined ? tool.name : `${located.method} ${located.path}`
      judged.exceptions.push({ operation, fault })
    }
    if (located === undefined) {
      except({
        kind: 'unmatched',
        where: tool.operation.url,
        why: 'No operation has this address.',
      })
      continue
    }
    for (const fault of toolFaults(tool)) except(fault)
    try {
      const operation = reader.read(located)
      const { inputs, valid, partial, faults } = judgeTool(
        tool,
        operation,
        schemas,
        elsewhere,
        accepts(tool.inputSchema),
      )
      judged.inputs += inputs
      judged.validInputs += valid
      judged.partialInputs += partial
      if (inputs === valid) judged.validTools += 1
      const [fault] = faults
      if (fault !== undefined) except(fault)
      const trips = roundTrips(tool, operation, schemas, elsewhere)
      judged.examples += trips.tried
      judged.equalExamples += trips.equal
      judged.contradictedExamples += trips.contradicted
      for (const one of trips.faults) except({ ...one, kind: `example: ${one.kind}` })
    } catch (error) {
      except({ kind: 'reader-failed', where: 'operation', why: String(error).slice(0, 300) })
    }
  }
  judged.tookMs = performance.now() - begun
  return judged
}

type ImportedTool = ToolSpec & { operation: OperationSpec }

function isImported(tool: ToolSpec): tool is ImportedTool {
  return tool.operation !== undefined
}

function placeOf({ scheme, parameter = '' }: CredentialSpec): string[] {
  return scheme === 'header' || scheme === 'query' || scheme === 'cookie'
    ? [`${scheme} ${parameter}`]
    : []
}

/** The operation whose path the tool's address ends with, the longest one first; its id tells those of one address apart. */
function finder(operations: readonly Located[]): (tool: ImportedTool) => Located | undefined {
  const byPath = new Map<string, Located[]>()
  for (const located of operations) {
    for (const key of new Set([exact(located), loose(located)])) {
      byPath.set(key, [...(byPath.get(key) ?? []), located])
    }
  }
  const given = new Set<Located>()
  return ({ name, operation: { method, url } }) => {
    const full = url.replace(/^https?:\/\/[^/?#]*/, '').replaceAll('{+', '{')
    const suffixes = [...full.matchAll(/\//g)].map(({ index }) => full.slice(index))
    const keys = [exact, loose].flatMap((turn) =>
      [...suffixes, ''].map((path) => turn({ method, path })),
    )
    const candidates = keys.map((key) => byPath.get(key)).find((found) => found !== undefined) ?? []
    const found =
      candidates.find(({ operationId }) => operationId === name) ??
      candidates.find((located) => !given.has(located)) ??
      candidates[0]
    if (found !== undefined) given.add(found)
    return found
  }
}

/** A fragment tells operations of one address apart, and is never sent. */
function exact({ method, path }: Pick<Located, 'method' | 'path'>): string {
  return `${method.toLowerCase()} ${path.split('#', 1)[0]}`
}

function loose({ method, path }: Pick<Located, 'method' | 'path'>): string {
  const bare = path.replaceAll(/\{[^{}]*\}/g, '{}').split(/[?#]/, 1)[0] ?? ''
  return `${method.toLowerCase()} ${bare.replace(/\/+$/, '')}`
}
