/** Hostile tools for tests: a body of source text that has raw system calls, in a sandbox that is gone afterwards. */
import { callTool, type TestSandboxOptions, type TestStack, withSandbox } from './keeper/testing.ts'
import type { Sandbox } from './sandbox.ts'

/** Raw system calls, as a hostile tool has them. */
const prelude = `
const { dlopen, ptr } = await import('bun:ffi')
const fs = await import('node:fs')
const libc = dlopen('libc.so.6', { syscall: { args: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64'], returns: 'i64' } }).symbols
const call = (number, a = 0n, b = 0n, c = 0n, d = 0n, e = 0n) => Number(libc.syscall(BigInt(number), BigInt(a), BigInt(b), BigInt(c), BigInt(d), BigInt(e)))
const attempt = async (what) => { try { return ['done', await what()] } catch (error) { return ['refused', String(error?.code ?? error?.message ?? error)] } }
`

export type Hostile = (
  body: string,
  use: (sandbox: Sandbox, run: () => Promise<unknown>) => Promise<void>,
  options?: TestSandboxOptions,
) => Promise<void>

/** Each use takes another slot below `slots`. `run` answers what the body returns; it throws when the tool did. */
export function hostileTools(stack: () => TestStack, slots: number): Hostile {
  let next = 0
  return async (body, use, options = {}) => {
    const slot = next++ % slots
    const run = `async (input, ctx) => { ${prelude}\n return JSON.stringify((await (async () => { ${body} })()) ?? null) }`
    await withSandbox(stack(), { run }, (sandbox) => use(sandbox, () => answerOf(sandbox)), {
      ...options,
      slot,
    })
    const left = await stack().leftOf(slot)
    if (left.length > 0) throw new Error(`left over: ${left.join(', ')}`)
  }
}

async function answerOf(sandbox: Sandbox): Promise<unknown> {
  const { outcome, result } = await callTool(sandbox, 'run', {}, { timeoutMs: 60_000 })
  const text = result.content[0]?.text ?? ''
  if (outcome.code !== 'ok' || result.isError) throw new Error(`${outcome.code}: ${text}`)
  return JSON.parse(text)
}
