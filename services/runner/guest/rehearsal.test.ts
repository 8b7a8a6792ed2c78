/** The rehearsal goes through both kinds of tools to their answers: one that breaks off early warms nothing. */
import { expect, test } from 'bun:test'
import { rehearse } from './rehearsal.ts'

test('a code tool and an operation are loaded, called and answered', async () => {
  expect((await rehearse()).toSorted()).toEqual([
    '{"content":[{"type":"text","text":"a"}]}',
    '{"content":[{"type":"text","text":"{\\"text\\":\\"a\\"}"}],"structuredContent":{"text":"a"}}',
  ])
})
