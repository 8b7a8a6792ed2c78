import { expect, test } from 'bun:test'
import { serverNameFault } from './server-name.ts'

test.each([
  'Google Drive (verified by Build My MCP)',
  'GitHub by BuildMyMCP',
  'Build My MCP support',
])('refuses the platform’s name in “%s”', (name) => {
  expect(serverNameFault(name)).toMatch(/name of this platform/)
})

test.each([
  'Google Drive (verified)',
  'Official GitHub',
  'ОFFIСIAL Google',
  'V\u200berified Stripe',
  'v e r i f i e d Stripe',
  'Notion, trusted by Google',
  'Slack ✔',
  'Drive vérifié',
  'Offizieller Dienst',
  'Официальный Telegram',
  'LINE 公式',
  '공식 Naver',
])('refuses the claim in “%s” and says how to rename', (name) => {
  expect(serverNameFault(name)).toMatch(/has not checked .*--name/)
})

test.each([
  'GitHub v3 REST API',
  'Google Drive API',
  'Unofficial Reddit API',
  'Verify by phone',
  'Officials of the league',
  'Authentication',
  'Certificates',
  'Build my house',
  '注文',
])('takes “%s”', (name) => {
  expect(serverNameFault(name)).toBeUndefined()
})
