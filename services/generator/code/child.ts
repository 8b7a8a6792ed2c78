/** The disposable child for specs: bytes on stdin, what the task asks for on stdout. */
import { MAX_BUILD_TOOLS, parseServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { ZodError } from 'zod'
import { REFUSED } from '../disposable.ts'
import { jsonNestingOf } from '../scan/nesting.ts'
import { scanSpec } from '../scan/scan-spec.ts'
import { consistencyFault } from '../spec-consistency.ts'
import { CompileError, compileModule } from './compile.ts'

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

if (import.meta.main) {
  const input = new Uint8Array(await Bun.stdin.arrayBuffer())
  try {
    await Bun.write(Bun.stdout, answer(process.argv[2] ?? '', input))
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof CompileError)) throw error
    await Bun.write(Bun.stdout, JSON.stringify({ path: error.path, message: error.message }))
    process.exitCode = REFUSED
  }
}

function answer(task: string, input: Uint8Array): string | Uint8Array {
  switch (task) {
    case 'read':
      return serverSpecBytes(read(input))
    case 'resolve':
      return JSON.stringify(resolve(input))
    case 'scan':
      return JSON.stringify(scanSpec(read(input), onTool))
    case 'compile':
      return compileModule(read(input), onTool)
    default:
      throw new Error(`no task ${task}`)
  }
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
    if (error instanceof ZodError) {
      const issue = error.issues[0]
      const path = (issue?.path ?? []).map((part) => `/${String(part)}`).join('')
      throw new Refusal(path, `${path === '' ? 'The spec' : path}: ${issue?.message ?? 'invalid'}`)
    }
    // TextDecoder and JSON.parse: their messages may quote the input.
    throw new Refusal('', 'The spec is not JSON in UTF-8.')
  }
}

/** What a build is about, or why there is nothing to build. */
function resolve(input: Uint8Array) {
  const spec = read(input)
  const count = spec.tools.length
  if (count === 0) throw new Refusal('/tools', 'The spec has no tools.')
  if (count > MAX_BUILD_TOOLS) {
    throw new Refusal(
      '/tools',
      `The spec has ${count} tools; a server has ${MAX_BUILD_TOOLS} at most.`,
    )
  }
  const fault = consistencyFault(spec)
  if (fault !== undefined) throw new Refusal(fault.path, fault.message)
  return {
    tools: count,
    codeTools: spec.tools.filter((tool) => tool.implementation !== undefined).length,
    origins: spec.egress.map(({ origin }) => origin),
    credentials: spec.credentials.map(({ name }) => name),
  }
}
