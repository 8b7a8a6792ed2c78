/** The disposable child for specs: a task and the bytes on stdin, what the task asks for on stdout. */
import { writeSync } from 'node:fs'
import {
  MAX_BUILD_TOOLS,
  parseServerSpec,
  type ServerSpec,
  serverSpecBytes,
} from '@bmm/spec/server-spec'
import { ZodError } from 'zod'
import { REFUSED } from '../disposable.ts'
import { schemaFault, unsafeKeys } from '../draft/schema-check.ts'
import { consistencyFault, type SpecFault } from '../draft/spec-consistency.ts'
import { jsonNestingOf } from '../scan/nesting.ts'
import { scanSpec } from '../scan/scan-spec.ts'
import { REFUSAL_MARK } from './answers.ts'
import { CompileError, compileModule } from './compile.ts'

const STDOUT = 1
const MAX_SPEC_NESTING = 200

/** A fault of the spec itself: told to the person with its place. */
class Refusal extends Error {
  constructor(
    readonly path: string,
    message: string,
  ) {
    super(message)
  }
}

/** Not awaited at the top level: a program with that cannot be compiled ahead. */
if (import.meta.main) void main()

async function main(): Promise<void> {
  const input = new Uint8Array(await Bun.stdin.arrayBuffer())
  const end = input.indexOf(0x0a)
  try {
    say(answer(new TextDecoder().decode(input.subarray(0, end)), input.subarray(end + 1)))
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof CompileError)) throw error
    say(`${REFUSAL_MARK}${JSON.stringify({ path: error.path, message: error.message })}`)
    process.exitCode = REFUSED
  }
}

/** In: one line that names the task, then the spec. Out: a line of JSON for each question, bytes for what is made. */
function answer(task: string, bytes: Uint8Array): string | Uint8Array {
  const spec = read(bytes)
  switch (task) {
    case 'read':
      refuse(schemaFault(spec))
      say(`${JSON.stringify(unsafeKeys(spec))}\n`)
      return serverSpecBytes(spec)
    case 'scan':
      return JSON.stringify(scanSpec(spec, onTool))
    case 'compile':
      return compileModule(spec, onTool)
    case 'build':
      // Each answer leaves before the next question: a crash belongs to the step that it happens in.
      say(`${JSON.stringify(resolve(spec))}\n`)
      say(`${JSON.stringify(scanSpec(spec, onTool))}\n`)
      return compileModule(spec, onTool)
    default:
      throw new Error(`no task ${task}`)
  }
}

function say(output: string | Uint8Array): void {
  const bytes = Buffer.from(output)
  for (let at = 0; at < bytes.length; ) at += writeSync(STDOUT, bytes, at)
}

/** Written at once, so that the parent knows which tool a crash belongs to. */
function onTool(path: string): void {
  process.stderr.write(`@${path}\n`)
}

function read(input: Uint8Array) {
  if (jsonNestingOf(input) > MAX_SPEC_NESTING) {
    throw new Refusal('', `The spec nests brackets more than ${MAX_SPEC_NESTING} deep.`)
  }
  try {
    return parseServerSpec(input)
  } catch (error) {
    if (isOpenApi(input)) {
      throw new Refusal(
        '',
        'This is an OpenAPI document, not a server spec. Hand it in as a document: `--openapi` in the CLI, `source.openapi` by REST.',
      )
    }
    if (error instanceof ZodError) {
      const issue = error.issues[0]
      const path = (issue?.path ?? []).map((part) => `/${String(part)}`).join('')
      const what = isAbsent(input, issue) ? 'It is missing.' : (issue?.message ?? 'invalid')
      throw new Refusal(path, `${path === '' ? 'The spec' : path}: ${what}`)
    }
    // TextDecoder and JSON.parse: their messages may quote the input.
    throw new Refusal('', 'The spec is not JSON in UTF-8.')
  }
}

/** A document where a spec belongs: JSON or YAML with the field that every version starts with. */
function isOpenApi(input: Uint8Array): boolean {
  const text = new TextDecoder().decode(input)
  return /^(?:\s*\{)?\s*["']?(?:openapi|swagger)["']?\s*:\s*["']?[23]\./m.test(text)
}

/** Whether the place of a fault holds nothing; zod tells that of a type, and not of a literal or an enumeration. */
function isAbsent(input: Uint8Array, issue: ZodError['issues'][number] | undefined): boolean {
  if (issue?.code !== 'invalid_type' && issue?.code !== 'invalid_value') return false
  let value: unknown = JSON.parse(new TextDecoder().decode(input))
  for (const part of issue.path) {
    if (typeof value !== 'object' || value === null) return false
    value = Reflect.get(value, part)
  }
  return value === undefined
}

function refuse(fault: SpecFault | undefined): void {
  if (fault !== undefined) throw new Refusal(fault.path, fault.message)
}

/** What a build is about, or why there is nothing to build. */
function resolve(spec: ServerSpec) {
  const count = spec.tools.length
  if (count === 0) throw new Refusal('/tools', 'The spec has no tools.')
  if (count > MAX_BUILD_TOOLS) {
    throw new Refusal(
      '/tools',
      `The spec has ${count} tools; a server has ${MAX_BUILD_TOOLS} at most.`,
    )
  }
  refuse(consistencyFault(spec))
  return {
    tools: count,
    codeTools: spec.tools.filter((tool) => tool.implementation !== undefined).length,
    origins: spec.egress.map(({ origin }) => origin),
    credentials: spec.credentials.map(({ name }) => name),
  }
}
