/** The small apps stand outside the types of the house, because their libraries do: they are checked against those. */
import { expect, test } from 'bun:test'

test('the apps use their libraries as the types of these say', () => {
  const { exitCode, stdout } = Bun.spawnSync(['tsc', '--noEmit', '--pretty', 'false', '-p', '.'], {
    cwd: import.meta.dir,
  })
  expect(stdout.toString()).toBe('')
  expect(exitCode).toBe(0)
})
