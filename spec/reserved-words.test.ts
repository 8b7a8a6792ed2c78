import { expect, test } from 'bun:test'
import { slugReservation } from './reserved-words.ts'

test.each([
  'google',
  'google-drive',
  'googledrive',
  'g00gle-drive',
  'github-v3-api',
  'githubapi',
  'open-ai',
  'chat-gpt',
  'the-slack',
  'mcp-stripe',
  'stripe-official',
  'box',
  'box-files-2',
  'microsoft-teams',
  'amazon-x',
])('reserves %s for the brand it names', (slug) => {
  expect(slugReservation(slug)).toMatch(/would pass for a server of|claims to speak for/)
  expect(slugReservation(slug)).toMatch(/Add a word of your own/)
})

test('reserves claims of a brand even beside a word of one’s own', () => {
  expect(slugReservation('acme-google-official')).toMatch(/claims to speak for google/)
  expect(slugReservation('verified-github-acme')).toMatch(/claims to speak for github/)
})

test.each(['build-my-mcp', 'buildmymcp', 'acme-build-my-mcp', 'build-mymcp-support'])(
  'reserves %s, which holds the platform’s name',
  (slug) => {
    expect(slugReservation(slug)).toMatch(/name of this platform/)
  },
)

test.each(['official', 'verified-server', 'security-team', 'admin-api', 'support-2'])(
  'reserves %s for the platform',
  (slug) => {
    expect(slugReservation(slug)).toMatch(/would pass for a server of this platform/)
  },
)

test.each([
  'acme-github',
  'github-acme',
  'my-google-drive',
  'jira-of-anna',
  'toolbox',
  'mailbox',
  'canvas',
  'metadata',
  'intuition',
  'build-my-house',
  'verified-suppliers',
  'support-tickets',
  'pets',
  'docs-api',
  'open-data',
  'you-and-me',
  'tea-shop',
])('leaves %s free', (slug) => {
  expect(slugReservation(slug)).toBeUndefined()
})
