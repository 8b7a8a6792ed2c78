/** How many questions one stream of server reflection answers. */
import { expect, test } from 'bun:test'
import { reasonOf } from '@bmm/lib/errors'
import { ServerReflectionRequestSchema } from '@bmm/proto/grpc/reflection/v1/reflection'
import { create } from '@bufbuild/protobuf'
import { descriptorsOf } from './descriptors.ts'
import { reflection } from './reflection.ts'

test('a thousand questions are answered, the next one ends the stream', async () => {
  const question = create(ServerReflectionRequestSchema, {
    messageRequest: { case: 'listServices', value: '' },
  })
  async function* questions() {
    while (true) yield question
  }
  let answered = 0
  let refused: unknown
  try {
    const descriptors = descriptorsOf({ methods: [], messages: [], whole: [] })
    for await (const { messageResponse } of reflection(descriptors)(questions())) {
      if (messageResponse.case === 'listServicesResponse') answered++
    }
  } catch (thrown) {
    refused = thrown
  }
  expect([answered, reasonOf(refused)]).toEqual([1_000, 'too_many_questions'])
})
