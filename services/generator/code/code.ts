/** Scanning and compiling specs as the service does it: in a disposable child, crashed ones tried once more. */
import { z } from 'zod'
import { type ChildEnding, type ChildLimits, runDisposable } from '../disposable.ts'
import { codeRules, type Finding, textRules } from '../scan/finding.ts'
import { MAX_MODULE_BYTES } from './compile.ts'

const program = new URL('child.ts', import.meta.url).pathname
const ATTEMPTS = 2
const doing = { read: 'Reading', resolve: 'Resolving', scan: 'Scanning', compile: 'Compiling' }
type Task = 'read' | 'resolve' | 'scan' | 'compile'
const MAX_REPORT_BYTES = 1024 * 1024

export const codeLimits: ChildLimits = {
  timeoutMs: 30_000,
  memoryBytes: 768 * 1024 * 1024,
  outputBytes: MAX_MODULE_BYTES + MAX_REPORT_BYTES,
}

/** The spec cannot be scanned or compiled; the message is for the person who wrote it. */
export class CodeError extends Error {
  override readonly name = 'CodeError'

  constructor(
    /** JSON pointer into the spec, or empty. */
    readonly path: string,
    message: string,
  ) {
    super(message)
  }
}

const findingsSchema: z.ZodType<Finding[]> = z.array(
  z.object({ rule: z.enum([...codeRules, ...textRules]), path: z.string(), message: z.string() }),
)
const refusalSchema = z.object({ path: z.string(), message: z.string() })

export type CodeOptions = { signal?: AbortSignal | undefined; limits?: ChildLimits }

const resolvedSchema = z.object({
  tools: z.number(),
  codeTools: z.number(),
  origins: z.array(z.string()),
  credentials: z.array(z.string()),
})
export type Resolved = z.infer<typeof resolvedSchema>

/** The spec of hostile bytes as the bytes to show: well formed, bounded in depth. Throws CodeError. */
export async function readSpecBytes(
  bytes: Uint8Array,
  options: CodeOptions = {},
): Promise<Uint8Array> {
  return (await attempt('read', bytes, options)).output
}

/** What a spec would build. Throws CodeError when it contradicts itself or is out of bounds. */
export async function resolveSpecBytes(
  spec: Uint8Array,
  options: CodeOptions = {},
): Promise<Resolved> {
  const { output } = await attempt('resolve', spec, options)
  return resolvedSchema.parse(JSON.parse(Buffer.from(output).toString('utf8')))
}

/** What the scan finds in a spec. Throws CodeError when it cannot be scanned. */
export async function scanSpecBytes(
  spec: Uint8Array,
  options: CodeOptions = {},
): Promise<Finding[]> {
  const ending = await attempt('scan', spec, options)
  return findingsSchema.parse(JSON.parse(Buffer.from(ending.output).toString('utf8')))
}

/** The module of a spec; zero bytes when no tool has code. Throws CodeError. */
export async function compileSpecBytes(
  spec: Uint8Array,
  options: CodeOptions = {},
): Promise<Uint8Array> {
  return (await attempt('compile', spec, options)).output
}

async function attempt(
  task: Task,
  spec: Uint8Array,
  { signal, limits = codeLimits }: CodeOptions,
): Promise<Extract<ChildEnding, { kind: 'done' }>> {
  let note = ''
  for (let turn = 1; turn <= ATTEMPTS; turn++) {
    const ending = await runDisposable(program, [task], spec, limits, signal)
    switch (ending.kind) {
      case 'done':
        return ending
      case 'refused': {
        const text = Buffer.from(ending.output).toString('utf8')
        const { path, message } = refusalSchema.parse(JSON.parse(text))
        throw new CodeError(path, message)
      }
      case 'over':
        throw new CodeError('', `${doing[task]} the spec was stopped. ${ending.sentence}`)
      case 'crashed':
        note = ending.note
        break
      default:
        ending satisfies never
    }
  }
  throw new CodeError(note, `${doing[task]} the spec crashed twice. It is not tried again.`)
}
