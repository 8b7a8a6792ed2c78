/** Scan and compile in their child: what comes out, what is refused, and that only the child dies. */
import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { startDisposable } from '../disposable.ts'
import {
  buildSpecBytes,
  CodeError,
  codeLimits,
  compileSpecBytes,
  scanSpecBytes,
  startCodeChild,
} from './code.ts'

const annotations = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: true,
}

function specOf(bodies: Record<string, string | undefined>): Uint8Array {
  const spec: ServerSpec = {
    specVersion: 1,
    name: 'Code',
    description: '',
    tools: Object.entries(bodies).map(([name, implementation]) => ({
      name,
      description: '',
      inputSchema: { type: 'object' },
      annotations,
      examples: [],
      ...(implementation === undefined
        ? { operation: { method: 'GET', url: 'https://a.example/', parameters: [] } }
        : { implementation }),
    })),
    credentials: [],
    egress: [{ origin: 'https://a.example' }],
  }
  return serverSpecBytes(spec)
}

async function load(module: Uint8Array): Promise<Record<string, (input: unknown) => unknown>> {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-module-'))
  try {
    writeFileSync(join(folder, 'module.mjs'), module)
    const loaded: { tools: Record<string, (input: unknown) => unknown> } = await import(
      join(folder, 'module.mjs')
    )
    return loaded.tools
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe('compiling', () => {
  test('types are stripped and every tool is there, whatever its name', async () => {
    const bytes = specOf({
      add: 'const sum: number = (input as { a: number }).a + 1; return sum // end',
      get: undefined,
      'weird-name': 'enum E { A = 3 } return E.A',
      ['__proto__']: 'return "own"',
    })
    const tools = await load(await compileSpecBytes(bytes))
    expect(Object.keys(tools)).toEqual(['add', 'weird-name', '__proto__'])
    expect(await tools.add?.({ a: 1 })).toBe(2)
    expect(await tools['weird-name']?.({})).toBe(3)
    expect(await Object.getOwnPropertyDescriptor(tools, '__proto__')?.value({})).toBe('own')
  })
  test('the same spec gives the same bytes', async () => {
    const bytes = specOf({ a: 'return 1', b: 'return 2' })
    expect(await compileSpecBytes(bytes)).toEqual(await compileSpecBytes(bytes))
  })
  test('operations alone give zero bytes', async () => {
    expect((await compileSpecBytes(specOf({ get: undefined }))).length).toBe(0)
  })
  test('a body that closes its function is refused, with its place', async () => {
    const failed = compileSpecBytes(specOf({ a: 'return 1', b: '}), evil(async () => {' }))
    expect(await outcomeOf(failed)).toThrow(
      expect.objectContaining({
        name: 'CodeError',
        path: '/tools/1/implementation',
      }),
    )
  })
  test('code that comes out too large is refused, however small it went in', async () => {
    const deep = 100
    const body = '{'.repeat(deep) + '{}'.repeat(30_000) + '}'.repeat(deep)
    const failed = compileSpecBytes(
      specOf(Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`, body]))),
    )
    expect(await outcomeOf(failed)).toThrow(/larger than 16 MB|memory/)
  })
  test('braces that would come out as 61 MB are refused', async () => {
    const failed = compileSpecBytes(specOf({ a: '{'.repeat(8_000) + '}'.repeat(8_000) }))
    expect(await outcomeOf(failed)).toThrow('deep')
  })
})

describe('scanning', () => {
  test('findings come back with rule and place', async () => {
    const findings = await scanSpecBytes(specOf({ fine: 'return 1', bad: 'return eval("1")' }))
    expect(findings).toEqual([
      {
        rule: 'eval',
        path: '/tools/1/implementation',
        message: 'Line 1: eval runs text as code. Write the code itself.',
      },
    ])
  })
  test('20,000 nested brackets are a finding, not a crash', async () => {
    const findings = await scanSpecBytes(specOf({ deep: '['.repeat(20_000) }))
    expect(findings[0]?.rule).toBe('unreadable_code')
  })
  test('brackets in the texts of a spec are no nesting', async () => {
    const lines = 'const a = "[[[{{{(((";'
    const bodies = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`t${i}`, lines]))
    expect(await scanSpecBytes(specOf(bodies))).toEqual([])
  })
  test('a spec nested too deep is refused before it is parsed', async () => {
    const failed = scanSpecBytes(new TextEncoder().encode(`{"a":${'['.repeat(50_000)}`))
    expect(await outcomeOf(failed)).toThrow('200 deep')
  })
  test('nesting without brackets crashes the child twice and is refused with its place', async () => {
    const bytes = specOf({ fine: 'return 1', deep: `return ${'a=>'.repeat(20_000)}1` })
    const failed = scanSpecBytes(bytes)
    expect(await outcomeOf(failed)).toThrow(
      expect.objectContaining({
        path: '/tools/1/implementation',
        message: expect.stringContaining('crashed twice'),
      }),
    )
  })
  test('a child over its time is ended', async () => {
    const start = () => startCodeChild({ ...codeLimits, timeoutMs: 1 })
    const failed = scanSpecBytes(specOf({ a: 'return 1' }), { start })
    expect(await outcomeOf(failed)).toThrow(CodeError)
  })
  test('a cancelled scan rejects with the reason of its signal', async () => {
    const controller = new AbortController()
    const running = scanSpecBytes(specOf({ a: 'return 1' }), { signal: controller.signal })
    controller.abort(new Error('cancelled by a person'))
    expect(await outcomeOf(running)).toThrow('cancelled by a person')
  })
})

describe('one child for a build', () => {
  test('answers what it would build, what is found and the module', async () => {
    const bytes = specOf({ fine: 'return 1' })
    const build = buildSpecBytes(bytes)
    expect(await build.resolved()).toMatchObject({ tools: 1, codeTools: 1 })
    expect(await build.findings()).toEqual([])
    expect(await build.module()).toEqual(await compileSpecBytes(bytes))
  })
  test('answers what it found although the rest crashes it twice', async () => {
    const build = buildSpecBytes(specOf({ deep: `return ${'a=>'.repeat(20_000)}1` }))
    expect(await build.resolved()).toMatchObject({ tools: 1 })
    const message = 'Scanning the spec crashed twice. It is not tried again.'
    expect(await outcomeOf(build.findings())).toThrow(
      expect.objectContaining({
        path: '/tools/0/implementation',
        message,
      }),
    )
    expect(await outcomeOf(build.module())).toThrow(expect.objectContaining({ message }))
  })
  test('says no in the place of the answer that it cannot give', async () => {
    const empty = buildSpecBytes(specOf({}))
    expect(await outcomeOf(empty.resolved())).toThrow(
      expect.objectContaining({ message: 'The spec has no tools.' }),
    )
    const broken = buildSpecBytes(specOf({ a: 'return eval("1")' }))
    expect(await broken.findings()).toMatchObject([{ path: '/tools/0/implementation' }])
    expect(await outcomeOf(broken.module())).toThrow(CodeError)
  })
})

describe('a disposable child', () => {
  const run = async (code: string, limits = {}) => {
    const folder = mkdtempSync(join(tmpdir(), 'bmm-child-'))
    const program = join(folder, 'child.ts')
    writeFileSync(program, code)
    try {
      const all = { timeoutMs: 20_000, memoryBytes: 300e6, outputBytes: 1_000, ...limits }
      return await startDisposable(program, all).run(new Uint8Array([1]))
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
  test('sees no environment', async () => {
    const ending = await run(
      'await Bun.write(Bun.stdout, JSON.stringify(Object.keys(process.env)))',
    )
    expect(ending.kind === 'done' && Buffer.from(ending.output).toString()).toBe('[]')
  })
  test('is ended when it takes too much memory', async () => {
    const hog =
      'const a = []; for (;;) { a.push(new Uint8Array(1 << 20).fill(1)); await Bun.sleep(1) }'
    expect(await run(hog)).toMatchObject({ kind: 'over' })
  })
  test('is ended when it says too much', async () => {
    const chatter = 'await Bun.write(Bun.stdout, "x".repeat(2_000)); await Bun.sleep(60_000)'
    expect(await run(chatter)).toMatchObject({ kind: 'over' })
  })
  test('is ended when it takes too long', async () => {
    expect(await run('for (;;) {}', { timeoutMs: 300 })).toMatchObject({ kind: 'over' })
  })
  test('that dies tells its last note', async () => {
    const dying = 'process.stderr.write("@/tools/7\\n"); process.kill(process.pid, "SIGKILL")'
    expect(await run(dying)).toEqual({ kind: 'crashed', note: '/tools/7' })
  })
})
