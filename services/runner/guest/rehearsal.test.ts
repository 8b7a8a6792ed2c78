/** The rehearsal goes through both kinds of tools to their answers: one that breaks off early warms nothing. */
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rehearse } from './rehearsal.ts'
import { rehearsalModule } from './rehearsal-module.ts'

test('a code tool and an operation are loaded, called and answered', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rehearsal-'))
  const path = join(folder, 'module.js')
  writeFileSync(path, rehearsalModule)
  const answers = await rehearse(path).finally(() => rmSync(folder, { recursive: true }))
  expect(answers.toSorted()).toEqual([
    '{"content":[{"type":"text","text":"a"}]}',
    '{"content":[{"type":"text","text":"{\\"text\\":\\"a\\"}"}],"structuredContent":{"text":"a"}}',
  ])
})
