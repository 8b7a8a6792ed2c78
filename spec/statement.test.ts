import { expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { digestOf } from './digest.ts'
import {
  type Access,
  mayUse,
  openStatement,
  type ServeStatement,
  type StatementKeys,
  signStatement,
} from './statement.ts'

const pair = generateKeyPairSync('ed25519')
const keys: StatementKeys = new Map([
  ['k1', pair.publicKey.export({ format: 'der', type: 'spki' })],
])
const statement: ServeStatement = {
  statementVersion: 1,
  kind: 'serve',
  serverId: 'srv_1',
  orgId: 'org_1',
  epoch: 3,
  issuedAt: '2026-11-22T00:00:00.000Z',
  resourceUrl: 'http://localhost:8787/s/a/mcp',
  version: 1,
  specDigest: digestOf('spec'),
  moduleDigest: digestOf(''),
  access: { kind: 'org' },
  egress: [],
  credentials: [],
}
const signed = signStatement(statement, pair.privateKey, 'k1')

test('a signed statement opens to what was signed', () => {
  expect(openStatement(signed, keys)).toEqual(statement)
})

test('each flipped byte of content or signature closes it', () => {
  for (let index = 0; index < signed.bytes.length; index++) {
    const bytes = signed.bytes.map((byte, at) => (at === index ? byte ^ 1 : byte))
    expect(openStatement({ ...signed, bytes }, keys)).toBeUndefined()
  }
  for (let index = 0; index < signed.signature.length; index++) {
    const signature = signed.signature.map((byte, at) => (at === index ? byte ^ 1 : byte))
    expect(openStatement({ ...signed, signature }, keys)).toBeUndefined()
  }
})

test('another key, an unknown key id and an empty signature close it', () => {
  const other = generateKeyPairSync('ed25519')
  const forged = signStatement(statement, other.privateKey, 'k1')
  expect(openStatement(forged, keys)).toBeUndefined()
  expect(openStatement({ ...signed, keyId: 'k2' }, keys)).toBeUndefined()
  expect(openStatement({ ...signed, signature: new Uint8Array() }, keys)).toBeUndefined()
})

test('a malformed statement is never signed', () => {
  const wrong = { ...statement, epoch: 0 }
  expect(() => signStatement(wrong, pair.privateKey, 'k1')).toThrow()
  const extra = { ...statement, extra: true }
  expect(() => signStatement(extra, pair.privateKey, 'k1')).toThrow()
})

test.each<[Access, string, boolean]>([
  [{ kind: 'org' }, 'usr_member', true],
  [{ kind: 'org' }, 'usr_stranger', false],
  [{ kind: 'people', people: ['usr_stranger'] }, 'usr_stranger', true],
  [{ kind: 'people', people: ['usr_stranger'] }, 'usr_member', false],
  [{ kind: 'anyone' }, 'usr_stranger', true],
])('under %o the person %s may use the server: %p', (access, userId, allowed) => {
  const orgIds = userId === 'usr_member' ? ['org_other', 'org_1'] : ['org_other']
  expect(mayUse(access, 'org_1', { userId, orgIds })).toBe(allowed)
})
