import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseSqlAddress, type SqlAddress } from './sql-address.ts'

const parts: SqlAddress = {
  ...{ user: 'u', password: '', database: 'd', host: 'localhost', port: 5432, ssl: false },
}

test.each<[string, Partial<SqlAddress>]>([
  ['postgres://u@localhost/d', parts],
  [
    'postgresql://u:p%40%25%2F@127.0.0.1:6/d%20b',
    { password: 'p@%/', host: '127.0.0.1', port: 6, database: 'd b' },
  ],
  ['postgres://u@[::1]/d', { host: '::1' }],
  ['postgres://u@localhost:7/d?host=/run/pg', { port: 7, path: '/run/pg/.s.PGSQL.7' }],
  ['postgres://u@db.example/d?sslmode=disable', { host: 'db.example' }],
  ['postgres://u@db.example/d?sslmode=require', { host: 'db.example', ssl: 'require' }],
  ['postgres://u@db.example/d?sslmode=verify-full', { host: 'db.example', ssl: {} }],
])('%s is read as it is meant', (text, expected) => {
  expect(parseSqlAddress(text)).toEqual({ ...parts, ...expected })
})

test.each([
  ['mysql://u:canary@localhost/d', /must be an address such as/],
  [
    'postgres://u:canary@a,b/d?target_session_attrs=any',
    /target_session_attrs, which is not known/,
  ],
  ['postgres://localhost/d', /names no account/],
  ['postgres://u:canary@localhost', /names no database/],
  ['postgres://u:canary%@localhost/d', /write it as %25/],
  ['postgres://u:canary@db.example/d', /does not say whether to encrypt/],
  ['postgres://u:canary@10.0.0.7/d', /does not say whether to encrypt/],
  ['postgres://u:canary@localhost/d?sslmode=prefer', /disable, require, verify-full are/],
  [
    'postgres://u:canary@localhost/d?sslmode=require&sslrootcert=/x',
    /goes with sslmode=verify-full/,
  ],
  ['postgres://u:canary@localhost/d?sslmode=verify-full&sslrootcert=x', /not begin with \//],
  ['postgres://u:canary@localhost/d?sslmode=verify-full&sslrootcert=/x', /cannot be read/],
])('what would be left out of %s or cannot be meant is refused', (text, sentence) => {
  expect(() => parseSqlAddress(text)).toThrow(sentence)
  expect(() => parseSqlAddress(text)).not.toThrow(/canary/)
})

test('the certificates are those of the file, which must hold some', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-certificates-'))
  const [good, empty] = [join(folder, 'good.pem'), join(folder, 'empty.pem')]
  const ca = '-----BEGIN CERTIFICATE-----\n'
  writeFileSync(good, ca)
  writeFileSync(empty, '')
  const address = (file: string) =>
    `postgres://u@localhost/d?sslmode=verify-full&sslrootcert=${file}`
  expect(parseSqlAddress(address(good)).ssl).toEqual({ ca })
  expect(() => parseSqlAddress(address(empty))).toThrow(/holds no certificate in PEM/)
  rmSync(folder, { recursive: true })
})
