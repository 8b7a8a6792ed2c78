import { expect, test } from 'bun:test'
import { confirmationDigest } from './confirmation.ts'
import { digestOf } from './digest.ts'

const confirmed = {
  specDigest: digestOf('spec'),
  resourceUrl: 'https://mcp.example.com/s/pets/mcp',
  access: { kind: 'org' },
} as const

test('each part of what is confirmed changes the digest', () => {
  const digests = [
    confirmed,
    { ...confirmed, specDigest: digestOf('other') },
    { ...confirmed, resourceUrl: 'https://mcp.example.com/s/cats/mcp' },
    { ...confirmed, access: { kind: 'anyone' } as const },
    { ...confirmed, access: { kind: 'people', people: [] } },
    { ...confirmed, access: { kind: 'people', people: ['usr_a'] } },
    { ...confirmed, access: { kind: 'people', people: ['usr_a', 'usr_b'] } },
  ].map((each) => confirmationDigest(each as Parameters<typeof confirmationDigest>[0]))
  expect(new Set(digests).size).toBe(digests.length)
  expect(confirmationDigest({ ...confirmed })).toBe(digests[0] ?? '')
})
