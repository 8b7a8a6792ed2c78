import { describe, expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { SignJWT, UnsecuredJWT } from 'jose'
import { openIdentity } from './identity.ts'
import { testIdentities } from './testing.ts'
import { outcomeOf, reason } from './testing-outcome.ts'

const method = '/bmm.secrets.v1.SecretsService/PutSecret'

describe('service tokens', () => {
  test('a token names its service to the callee and method it is for, once', async () => {
    const identities = await testIdentities()
    const token = await identities.of('gateway').sign('secrets', method)
    const secrets = identities.of('secrets')
    expect(await secrets.verify(token, method, { once: true })).toBe('gateway')
    expect(await reason(secrets.verify(token, method, { once: true }))).toBe(
      'service_token_replayed',
    )
    expect(await secrets.verify(token, method, { once: false })).toBe('gateway')
  })

  test('another method, callee or minute refuses it', async () => {
    let now = Date.now()
    const identities = await testIdentities(() => now)
    const token = await identities.of('gateway').sign('secrets', method)
    const verify = (at: 'secrets' | 'runner', path = method) =>
      reason(identities.of(at).verify(token, path, { once: false }))
    expect(await verify('secrets', `${method}s`)).toBe('service_token_invalid')
    expect(await verify('runner')).toBe('service_token_invalid')
    now += 66_000
    expect(await verify('secrets')).toBe('service_token_invalid')
  })

  test('a forged, unsigned, long-lived or foreign token is refused', async () => {
    const identities = await testIdentities()
    const strangers = await testIdentities()
    const seconds = Math.floor(Date.now() / 1000)
    const claims = () =>
      new SignJWT({ mtd: method })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'bmm-service+jwt' })
        .setIssuer('gateway')
        .setAudience('secrets')
        .setIssuedAt(seconds)
        .setJti('x')
    const key = generateKeyPairSync('ed25519').privateKey
    const unsigned = new UnsecuredJWT({ mtd: method })
      .setIssuer('gateway')
      .setAudience('secrets')
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + 60)
    const tokens = [
      await strangers.of('gateway').sign('secrets', method),
      await claims()
        .setExpirationTime(seconds + 60)
        .sign(key),
      unsigned.encode(),
      'a.b.c',
      '',
    ]
    for (const token of tokens) {
      const verified = identities.of('secrets').verify(token, method, { once: false })
      expect(await reason(verified)).toBe('service_token_invalid')
    }
  })

  test('a user token is no service token and the other way round', async () => {
    const identities = await testIdentities()
    const service = await identities.of('gateway').sign('secrets', method)
    expect(await reason(identities.of('secrets').verifyUser(service))).toBe('user_token_invalid')
    const person = await identities.mintUser()
    const verified = identities.of('secrets').verify(person, method, { once: false })
    expect(await reason(verified)).toBe('service_token_invalid')
  })
})

describe('user tokens', () => {
  test('a user token says who, for which organisation and what was confirmed', async () => {
    const identities = await testIdentities()
    const digest = `sha256:${'0'.repeat(64)}`
    const person = { userId: 'usr_1', orgId: 'org_1', role: 'viewer', sessionId: 'ses_1' }
    const token = await identities.mintUser(person, { confirmDigest: digest })
    const claims = await identities.of('secrets').verifyUser(token)
    expect(claims).toEqual({ ...person, confirmDigest: digest, token })
  })

  test('one for another service, ended, or signed by a service is refused', async () => {
    const identities = await testIdentities()
    const elsewhere = await identities.mintUser({}, { audiences: ['runner'] })
    const ended = await identities.mintUser({}, { expiresInSeconds: -6 })
    const seconds = Math.floor(Date.now() / 1000)
    const forged = await new SignJWT({ org: 'org_1', role: 'owner', sid: 'ses_1' })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'bmm-user+jwt' })
      .setSubject('usr_1')
      .setAudience('secrets')
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + 60)
      .sign(generateKeyPairSync('ed25519').privateKey)
    for (const token of [elsewhere, ended, forged]) {
      expect(await reason(identities.of('secrets').verifyUser(token))).toBe('user_token_invalid')
    }
  })
})

test('a malformed key file stops the start', async () => {
  const { privateKeyPem, publicKeys } = await testIdentities()
  const name = 'secrets'
  const pem = privateKeyPem(name)
  expect(await outcomeOf(openIdentity({ name, privateKeyPem: 'x', publicKeys }))).toThrow()
  expect(
    await outcomeOf(openIdentity({ name, privateKeyPem: pem, publicKeys: '{"auth":"x"}' })),
  ).toThrow()
})
