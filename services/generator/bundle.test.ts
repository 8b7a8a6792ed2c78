/** The bundled programs answer what the sources answer, from a folder that holds nothing else. */
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServerSpec, serverSpecBytes } from '@bmm/spec/server-spec'
import { childPrograms } from './child-programs.ts'
import { buildSpecBytes, codeLimits, startCodeChild } from './code/code.ts'
import { importDocument, importLimits, startImportChild } from './openapi/import-document.ts'
import { documentUrl, fixture } from './openapi/testing.ts'

const checkout = join(import.meta.dir, '../..')

test('a document is imported, a spec with code resolved, scanned and compiled', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-programs-'))
  try {
    const bundler = Bun.spawn([
      process.execPath,
      join(import.meta.dir, 'bundle.ts'),
      folder,
      checkout,
    ])
    expect(await bundler.exited).toBe(0)
    const bundled = childPrograms(folder)
    const document = fixture('notes-openapi-3.1.yaml')
    const start = () => startImportChild(importLimits, bundled.openapi)
    const draft = await importDocument(document, { documentUrl }, { start })
    expect(draft).toEqual(await importDocument(document, { documentUrl }))
    const spec = withCode(draft.spec)
    const build = buildSpecBytes(spec, { start: () => startCodeChild(codeLimits, bundled.code) })
    const fromSource = buildSpecBytes(spec)
    expect(await build.resolved()).toEqual(await fromSource.resolved())
    expect(await build.findings()).toEqual(await fromSource.findings())
    const module = Buffer.from(await build.module()).toString()
    expect(module).toBe(Buffer.from(await fromSource.module()).toString())
    expect(module).toContain('input.text')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/** Parsing and stripping types takes the native code that stays outside of the bundle. */
function withCode(spec: ServerSpec): Uint8Array {
  const [first, ...others] = spec.tools
  if (first === undefined) throw new Error('the fixture has no tool')
  const { operation: _, ...tool } = first
  const coded = { ...tool, implementation: 'const text: string = input.text\nreturn text' }
  return serverSpecBytes({ ...spec, tools: [coded, ...others] })
}
