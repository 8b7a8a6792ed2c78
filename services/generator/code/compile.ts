/** From tool bodies in TypeScript to the one module that a sandbox loads. Always the same bytes for the same spec. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { transformSync } from 'oxc-transform'
import { scanCode } from '../scan/code-scan.ts'
import { BODY_PREFIX, BODY_SUFFIX } from '../scan/syntax-tree.ts'

/** 16 KB of `{}` come out as 61 MB: the formatter indents. */
export const MAX_MODULE_BYTES = 16 * 1024 * 1024

/** A body that cannot become a part of the module. */
export class CompileError extends Error {
  override readonly name = 'CompileError'

  constructor(
    /** JSON pointer into the spec. */
    readonly path: string,
    message: string,
  ) {
    super(message)
  }
}

/**
 * The module `export const tools = { [name]: async (input, ctx) => { … }, … }`, or zero bytes when no tool has code.
 * Runs native code on hostile text: call it in a disposable child. Throws CompileError.
 */
export function compileModule(
  spec: ServerSpec,
  onTool: (path: string) => void = () => {},
): Uint8Array {
  const members: string[] = []
  let size = 0
  for (const [index, { name, implementation }] of spec.tools.entries()) {
    if (implementation === undefined) continue
    const path = `/tools/${index}/implementation`
    onTool(path)
    // A computed key is an own property whatever the name: `__proto__` is a tool like any other.
    const member = `  [${JSON.stringify(name)}]: ${strippedFunction(implementation, path)},\n`
    size += Buffer.byteLength(member)
    if (size > MAX_MODULE_BYTES) {
      throw new CompileError(path, 'The compiled code of all tools is larger than 16 MB.')
    }
    members.push(member)
  }
  if (members.length === 0) return new Uint8Array()
  return Buffer.from(`export const tools = {\n${members.join('')}}\n`)
}

/** The body as a function in JavaScript: checked before and after, because what runs is what comes out. */
function strippedFunction(body: string, path: string): string {
  refuseFaults(body, path)
  const { code, errors } = transformSync('tool.ts', BODY_PREFIX + body + BODY_SUFFIX, {
    lang: 'ts',
    sourceType: 'module',
    target: 'esnext',
  })
  const fault = errors[0]
  if (fault !== undefined)
    throw new CompileError(path, `The code does not compile: ${fault.message}`)
  if (code.length > MAX_MODULE_BYTES) {
    throw new CompileError(path, 'The compiled code is larger than 16 MB.')
  }
  const expression = code.trim().replace(/;$/, '')
  if (!expression.startsWith(BODY_PREFIX.trimEnd()) || !expression.endsWith('})')) {
    throw new CompileError(path, 'The code does not compile to one function.')
  }
  refuseFaults(expression.slice(BODY_PREFIX.trimEnd().length, -2), path)
  return expression
}

function refuseFaults(body: string, path: string): void {
  const fault = scanCode(body).faults[0]
  if (fault !== undefined) throw new CompileError(path, fault.message)
}
