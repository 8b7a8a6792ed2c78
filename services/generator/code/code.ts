/** Scanning and compiling specs as the service does it: in a disposable child, crashed ones tried once more. */
import { z } from 'zod'
import { childPrograms } from '../child-programs.ts'
import { type ChildLimits, type StartChild, startDisposable } from '../disposable.ts'
import { codeRules, type Finding, textRules } from '../scan/finding.ts'
import { afterLines, firstLines, REFUSAL_MARK, refusalIn, textOf } from './answers.ts'
import { MAX_MODULE_BYTES } from './compile.ts'

const ATTEMPTS = 2
const verbs = { read: 'Reading', resolve: 'Resolving', scan: 'Scanning', compile: 'Compiling' }
type Doing = keyof typeof verbs
type Task = 'read' | 'scan' | 'compile' | 'build'
const MAX_REPORT_BYTES = 1024 * 1024

export const codeLimits: ChildLimits = {
  timeoutMs: 30_000,
  memoryBytes: 768 * 1024 * 1024,
  outputBytes: MAX_MODULE_BYTES + MAX_REPORT_BYTES,
}

/** A child that waits for a spec. Tests give other limits. */
export function startCodeChild(limits = codeLimits, program = childPrograms().code) {
  return startDisposable(program, limits)
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
const resolvedSchema = z.object({
  tools: z.number(),
  codeTools: z.number(),
  origins: z.array(z.string()),
  credentials: z.array(z.string()),
})
export type Resolved = z.infer<typeof resolvedSchema>

export type CodeOptions = {
  signal?: AbortSignal | undefined
  /** Where the children come from. */
  start?: StartChild | undefined
}

const notesSchema = z.array(z.object({ path: z.string(), message: z.string() }))
export type ReadSpec = {
  /** The bytes to show: well formed, bounded in depth, with schemas that clients can compile. */
  bytes: Uint8Array
  warnings: z.infer<typeof notesSchema>
}

/** The spec of hostile bytes. Throws CodeError. */
export async function readSpecBytes(
  given: Uint8Array,
  options: CodeOptions = {},
): Promise<ReadSpec> {
  const output = await ask({ task: 'read', doing: () => 'read' }, given, options)
  const bytes = afterLines(output, 1)
  const warnings = textOf(output.subarray(0, output.length - bytes.length))
  return { bytes, warnings: notesSchema.parse(JSON.parse(warnings)) }
}

/** What the scan finds in a spec. Throws CodeError when it cannot be scanned. */
export async function scanSpecBytes(
  spec: Uint8Array,
  options: CodeOptions = {},
): Promise<Finding[]> {
  const output = await ask({ task: 'scan', doing: () => 'scan' }, spec, options)
  return findingsSchema.parse(JSON.parse(textOf(output)))
}

/** The module of a spec; zero bytes when no tool has code. Throws CodeError. */
export function compileSpecBytes(spec: Uint8Array, options: CodeOptions = {}): Promise<Uint8Array> {
  return ask({ task: 'compile', doing: () => 'compile' }, spec, options)
}

/** The three questions of a build, asked of one child; each answer is there as soon as the child has it. */
export type SpecBuild = {
  /** What the spec would build. Rejects with CodeError when it contradicts itself or is out of bounds. */
  resolved(): Promise<Resolved>
  findings(): Promise<Finding[]>
  module(): Promise<Uint8Array>
}

/** Starts at once. What goes wrong is told by the first answer that is missing, and by all after it. */
export function buildSpecBytes(spec: Uint8Array, options: CodeOptions = {}): SpecBuild {
  const lines = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const
  const module = Promise.withResolvers<Uint8Array>()
  const steps = ['resolve', 'scan', 'compile'] as const
  let answered = 0
  const asking: Asking = {
    task: 'build',
    doing: () => steps[answered] ?? 'compile',
    listen: () =>
      firstLines(lines.length, (line, index) => {
        if (line.startsWith(REFUSAL_MARK)) return
        answered = Math.max(answered, index + 1)
        lines[index]?.resolve(line)
      }),
  }
  ask(asking, spec, options).then(
    (output) => module.resolve(afterLines(output, lines.length)),
    (error: unknown) => {
      for (const { reject } of [...lines, module]) reject(error)
    },
  )
  // Not everybody waits for every answer.
  for (const { promise } of [...lines, module]) promise.catch(() => undefined)
  const [resolved, findings] = lines
  return {
    resolved: async () => resolvedSchema.parse(JSON.parse(await resolved.promise)),
    findings: async () => findingsSchema.parse(JSON.parse(await findings.promise)),
    module: () => module.promise,
  }
}

type Asking = {
  task: Task
  /** What the child is at, for the sentence about its end. */
  doing: () => Doing
  /** Makes a listener to one child's output. */
  listen?: () => (chunk: Uint8Array) => void
}

async function ask(
  { task, doing, listen }: Asking,
  spec: Uint8Array,
  { signal, start = startCodeChild }: CodeOptions,
): Promise<Uint8Array> {
  const input = Buffer.concat([Buffer.from(`${task}\n`), spec])
  let note = ''
  for (let turn = 1; turn <= ATTEMPTS; turn++) {
    signal?.throwIfAborted()
    const ending = await start().run(input, { signal, onOutput: listen?.() })
    switch (ending.kind) {
      case 'done':
        return ending.output
      case 'refused': {
        const { path, message } = refusalSchema.parse(refusalIn(ending.output))
        throw new CodeError(path, message)
      }
      case 'over':
        throw new CodeError('', `${verbs[doing()]} the spec was stopped. ${ending.sentence}`)
      case 'crashed':
        note = ending.note
        break
      default:
        ending satisfies never
    }
  }
  throw new CodeError(note, `${verbs[doing()]} the spec crashed twice. It is not tried again.`)
}
