import { expect, test } from 'bun:test'
import { defaultData } from './config.ts'
import { bmm } from './hint.ts'

test('a command to paste names the data directory unless it is the usual one', () => {
  expect(bmm('servers list', undefined)).toBe('./bmm servers list')
  expect(bmm('servers list', defaultData)).toBe('./bmm servers list')
  expect(bmm('down', '/tmp/other')).toBe('./bmm down --data /tmp/other')
})

test('a shell takes it as one word, whatever is in it', () => {
  const folder = "/tmp/it's $HOME; ls"
  const words = Bun.spawnSync(['sh', '-c', bmm('down', folder).replace('./bmm', 'printf "%s\\n"')])
  expect(words.stdout.toString().split('\n')).toEqual(['down', '--data', folder, ''])
})
