/** Twenty real APIs, each a server in the real sandbox in front of a mock made from its document: every operation is called and answered. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { openPlatform, type Platform } from '../platform.ts'
import { type Stack, startStack } from '../stack.ts'
import { callAll, type MockCall } from './mock-calls.ts'
import { documentFor, type Mocks, mockedDocuments, startMocks } from './mocks.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from './packages.ts'

const APIS = 20
const OPERATIONS = 622
const MIN_SHARE = 0.97
const TEST_TIMEOUT_MS = 300_000

/** Operations that the mock cannot answer whatever it is sent, each with what is wrong with it. */
const mockFaults = new Map([
  ['apple.com/sirikit-cloud-media extensionConfiguration', 'it cannot write application/jose'],
  ['bufferapp.com get_profiles_id_mediaTypeExtension', 'it cannot part {id}{mediaTypeExtension}'],
  ['bufferapp.com get_updates_id_mediaTypeExtension', 'it cannot part {id}{mediaTypeExtension}'],
  ['github.com post_v0_1_RecordStart', 'it drops a form field that is required, but not described'],
  ['presalytics.io/story story_post_file', 'of a list of files it keeps one'],
  ['presalytics.io/story story_id_file_post', 'of a list of files it keeps one'],
  ['watchful.li get_reports_sites_id', 'it cannot write application/pdf'],
  ['watchful.li get_reports_tags_id', 'it cannot write application/pdf'],
])

let stack: Stack
let mocks: Mocks
let platform: Platform

beforeAll(async () => {
  await installCorpus()
  mocks = await startMocks(mockedDocuments(APIS))
  stack = await startStack()
  platform = await openPlatform(stack, 'corpus@example.com')
}, INSTALL_TIMEOUT_MS)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await mocks?.[Symbol.asyncDispose]()
})

test(
  `${OPERATIONS} operations of ${APIS} APIs are answered by mocks that check each request`,
  async () => {
    const calls: MockCall[] = []
    for (const [index, document] of mockedDocuments(APIS).entries()) {
      const mock = mocks.urls[index] ?? ''
      await stack.run('targets', 'allow', new URL(mock).host, '--everyone')
      const draft = await platform.draft({ document: documentFor(document, mock) })
      const credentials = draft.spec.credentials.map(({ name, scheme }) => ({
        name,
        value: scheme === 'basic' ? 'ada:mock-password' : 'mock-credential',
      }))
      const url = await platform.serve(draft, `mock-${index}`, credentials)
      calls.push(...(await callAll(platform, { document, url }, mocks)))
    }
    const failed = calls.filter(({ answered }) => !answered)
    const unexplained = failed.filter(({ api, tool }) => !mockFaults.has(`${api} ${tool}`))
    expect(unexplained).toEqual([])
    expect(calls.length).toBe(OPERATIONS)
    expect((calls.length - failed.length) / calls.length).toBeGreaterThanOrEqual(MIN_SHARE)
  },
  TEST_TIMEOUT_MS,
)
