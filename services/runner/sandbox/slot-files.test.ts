/** Files of a killed process in slots that are not taken again at once. */
import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clearSlotFiles } from './slot-files.ts'

test('the own side of every slot is emptied, the other one left alone, a missing one no fault', () => {
  const slotsDir = mkdtempSync(join(tmpdir(), 'bmm-slots-'))
  const paths = ['0/c/token', '1/c/call.sock', '1/e/egress.sock'].map((path) =>
    join(slotsDir, path),
  )
  for (const path of paths) {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, 'left behind')
  }
  clearSlotFiles(slotsDir, 3, 'c')
  expect(paths.map((path) => existsSync(path))).toEqual([false, false, true])
  clearSlotFiles(slotsDir, 3, 'e')
  expect(paths.map((path) => existsSync(path))).toEqual([false, false, false])
  rmSync(slotsDir, { recursive: true })
})
