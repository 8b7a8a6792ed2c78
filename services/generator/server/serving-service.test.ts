/** The feed of statements and the artefacts behind them. */
import { describe, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { testUser } from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { codeSpec, generatorOfFile, petDocument } from '../testing-calls.ts'

const { generator, calls } = await generatorOfFile({ works: true })

describe('the feed', () => {
  test('a reader that follows by seq sees every change once, whatever runs at the same time', async () => {
    const user = testUser()
    const draft = await calls.draftOf(petDocument, user)
    const start = (await calls.serving.listServings({})).servings.at(-1)?.seq ?? 0n
    const making = Promise.all(
      Array.from({ length: 6 }, async () => {
        const { server, build } = await calls.create(draft, user)
        await calls.ended(build.id, user)
        return server.id
      }),
    )
    const seen: string[] = []
    let cursor = start
    let made: string[] | undefined
    making.then(
      (ids) => {
        made = ids
      },
      () => {
        made = []
      },
    )
    for (;;) {
      const isLast = made !== undefined
      const { servings } = await calls.serving.listServings({ afterSeq: cursor })
      for (const each of servings) {
        expect(each.seq).toBeGreaterThan(cursor)
        cursor = each.seq
        seen.push(each.serverId)
      }
      if (isLast) break
      await Bun.sleep(5)
    }
    await making
    for (const id of made ?? []) expect(seen.filter((each) => each === id)).toEqual([id])
  })
  test('the gateway finds a serving by its slug, and nothing under a strange one', async () => {
    const server = await calls.liveServer()
    const gateway = generator.rpc.client(ServingService, 'generator', 'gateway')
    const found = await gateway.getServing({ slug: server.slug })
    expect(found.serving).toMatchObject({ serverId: server.id, slug: server.slug, epoch: 1n })
    expect(await reason(gateway.getServing({ slug: 'nobody-has-this' }))).toBe('server_not_found')
  })
  test('an artefact that was changed in the database is not handed out', async () => {
    const server = await calls.liveServer(await calls.specDraft(codeSpec('return 1')))
    const { id: serverId, specDigest } = server
    const { sql } = generator.database
    const [row] = await sql<
      { digest: string }[]
    >`select digest from modules where server_id = ${serverId}`
    const moduleDigest = row?.digest ?? ''
    await sql`update modules set module = ${Buffer.from('evil')} where server_id = ${serverId}`
    const refused = calls.serving.getArtefact({ serverId, specDigest, moduleDigest })
    expect(await reason(refused)).toBe('artefact_not_found')
    const unknown = { serverId: newId('srv'), specDigest, moduleDigest: '' }
    expect(await reason(calls.serving.getArtefact(unknown))).toBe('artefact_not_found')
  })
})
