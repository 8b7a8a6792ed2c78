/** The child that parses documents: its limits hold, its crashes stay its own. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChildLimits, StartChild } from '../disposable.ts'
import { draftFromOpenApi } from './draft.ts'
import { importDocument, startImportChild } from './import-document.ts'
import { ImportError } from './import-error.ts'

const fixture = readFileSync(new URL('fixtures/library-openapi-3.0.json', import.meta.url), 'utf8')
const MB = 1024 * 1024
const limits = { timeoutMs: 30_000, memoryBytes: 512 * MB, outputBytes: 8 * MB }
let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'bmm-import-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

/** Starts children with a stand-in for the program. */
function program(name: string, code: string, some: Partial<ChildLimits> = {}): StartChild {
  const path = join(directory, `${name}.ts`)
  writeFileSync(path, code)
  return () => startImportChild({ ...limits, ...some }, path)
}

async function faultOf(work: Promise<unknown>): Promise<ImportError> {
  try {
    await work
  } catch (error) {
    if (error instanceof ImportError) return error
    throw error
  }
  throw new Error('it did not fail')
}

describe('the real child', () => {
  test('answers the same draft as the library', async () => {
    const options = { only: ['tag:loans'], name: 'Loans' }
    expect(await importDocument(fixture, options)).toEqual(draftFromOpenApi(fixture, options))
    expect(await importDocument(new TextEncoder().encode(fixture), options)).toEqual(
      draftFromOpenApi(fixture, options),
    )
  })

  test('passes on faults with their place', async () => {
    expect(await faultOf(importDocument('{"openapi":\n "3.0.0",, }'))).toMatchObject({
      code: 'document_malformed',
      line: 2,
      column: 10,
    })
    expect(await faultOf(importDocument(fixture, { only: ['x'] }))).toMatchObject({
      code: 'bad_option',
    })
    expect(await faultOf(importDocument(new Uint8Array([0x7b, 0xff, 0xfe])))).toMatchObject({
      code: 'document_malformed',
    })
    expect(await faultOf(importDocument(''))).toMatchObject({ code: 'document_empty' })
  })

  test('reads UTF-16, as some tools of Windows write it', async () => {
    const utf16 = new Uint8Array(Buffer.from(`\uFEFF${fixture}`, 'utf16le'))
    expect(await importDocument(utf16)).toEqual(draftFromOpenApi(fixture))
  })

  test('ends within its limits whatever a document makes it do', async () => {
    const wide = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, n) => [`f${n}`, { $ref: '#/components/schemas/S' }]),
    )
    const bomb = {
      openapi: '3.0.0',
      servers: [{ url: 'https://x.example' }],
      paths: Object.fromEntries(
        Array.from({ length: 3_000 }, (_, n) => [
          `/p${n}`,
          { post: { requestBody: { content: { 'application/json': { schema: wide.f0 } } } } },
        ]),
      ),
      components: {
        schemas: { S: { type: 'object', properties: wide, required: Object.keys(wide) } },
      },
    }
    const short = () => startImportChild({ ...limits, timeoutMs: 3_000 })
    const ended = await importDocument(JSON.stringify(bomb), {}, { start: short }).then(
      ({ spec }) => spec.tools.length,
      (error) => (error instanceof ImportError ? error.code : error),
    )
    expect([3_000, 'import_failed']).toContain(ended)
  }, 60_000)

  test('is not started for more bytes than an import takes', async () => {
    const large = new Uint8Array(64 * MB + 1)
    const never = () => {
      throw new Error('a child was started')
    }
    const fault = await faultOf(importDocument(large, {}, { start: never }))
    expect(fault.code).toBe('document_too_large')
  })
})

describe('a child that misbehaves', () => {
  test('is tried twice when it crashes, and not a third time', async () => {
    const log = join(directory, 'crashes')
    const crash = program(
      'crash',
      `require('node:fs').appendFileSync(${JSON.stringify(log)}, 'x')
       process.kill(process.pid, 'SIGSEGV')
       await Bun.sleep(60_000)`,
    )
    const fault = await faultOf(importDocument(fixture, {}, { start: crash }))
    expect(fault.code).toBe('import_failed')
    expect(fault.message).toContain('crash twice')
    expect(readFileSync(log, 'utf8')).toBe('xx')
  })

  test('is believed at the second try', async () => {
    const log = join(directory, 'tries')
    const flaky = program(
      'flaky',
      `const fs = require('node:fs')
       fs.appendFileSync(${JSON.stringify(log)}, 'x')
       if (fs.readFileSync(${JSON.stringify(log)}, 'utf8') === 'x') process.exit(7)
       process.stdout.write('{"tools":[],"draft":{"tags":[]}}')`,
    )
    const draft: unknown = await importDocument(fixture, {}, { start: flaky })
    expect(draft).toEqual({ tags: [], spec: { tools: [] } })
  })

  test('that says half a sentence has crashed', async () => {
    const half = program('half', `process.stdout.write('{"draft":{')`)
    const fault = await faultOf(importDocument(fixture, {}, { start: half }))
    expect(fault.message).toContain('crash twice')
  })

  test('is killed at its deadline', async () => {
    const spin = program('spin', 'for (;;) {}', { timeoutMs: 400 })
    const fault = await faultOf(importDocument(fixture, {}, { start: spin }))
    expect(fault).toMatchObject({ code: 'import_failed' })
    expect(fault.message).toContain('longer than 0.4 s')
  })

  test('is killed when it takes too much memory', async () => {
    const hog = program(
      'hog',
      `const all = []
       for (;;) { all.push(new Uint8Array(8 * 1024 * 1024).fill(1)); await Bun.sleep(1) }`,
      { memoryBytes: 256 * MB },
    )
    const fault = await faultOf(importDocument(fixture, {}, { start: hog }))
    expect(fault.message).toContain('more than 256 MB of memory')
  })

  test('is killed when it says too much', async () => {
    const flood = program(
      'flood',
      `const line = new Uint8Array(65536).fill(120)
       for (;;) { await Bun.write(Bun.stdout, line) }`,
    )
    const fault = await faultOf(importDocument(fixture, {}, { start: flood }))
    expect(fault.message).toContain('more than 8 MB of output')
  })

  test('is ended when nobody waits for it any more', async () => {
    const sleep = program('sleep', 'await Bun.sleep(60_000)')
    const signal = AbortSignal.timeout(300)
    const work = importDocument(fixture, {}, { signal, start: sleep })
    expect(await work.catch((error: unknown) => error)).toBe(signal.reason)
  })

  test('finds no environment and no open file of its parent', async () => {
    const look = program(
      'look',
      `const fs = require('node:fs')
       const open = fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } })
       const files = open.filter((path) => path.startsWith('/') && !/^\\/(proc|dev)\\//.test(path))
       process.stdout.write(JSON.stringify({ fault: { code: 'import_failed', message: JSON.stringify({ env: process['env'], files, cwd: process.cwd() }) } }))`,
    )
    const fault = await faultOf(importDocument(fixture, {}, { start: look }))
    expect(JSON.parse(fault.message)).toEqual({ env: {}, files: [], cwd: '/' })
  })
})

test('a document in Latin-1 or UTF-16 is read by the child', async () => {
  const document = JSON.stringify({
    openapi: '3.0.3',
    info: { title: 'Größe', version: '1' },
    servers: [{ url: 'https://api.example.com' }],
    paths: { '/a': { get: { responses: {} } } },
  })
  const latin = await importDocument(Uint8Array.from(Buffer.from(document, 'latin1')))
  expect(latin.spec.name).toBe('Größe')
  expect(latin.warnings[0]?.message).toStartWith('The document is not UTF-8 text.')
  const utf16 = await importDocument(Uint8Array.from(Buffer.from(`\uFEFF${document}`, 'utf16le')))
  expect(utf16.spec.name).toBe('Größe')
})
