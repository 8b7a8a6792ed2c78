/** Addresses of Postgres: what may stand in one, so that nothing in it is silently left out. */
import { readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'

const DEFAULT_PORT = 5432
const parameters = ['host', 'sslmode', 'sslrootcert']
const sslModes = ['disable', 'require', 'verify-full']
const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** How the client encrypts: not at all, without looking who answers, or only with whom a known authority vouches for. */
type Encryption = false | 'require' | { ca?: string }

export type SqlAddress = {
  host: string
  port: number
  /** Of the unix socket, which then is used instead of host and port. */
  path?: string
  user: string
  password: string
  database: string
  ssl: Encryption
}

/** The message is the rest of a sentence that begins with what the address is called; it holds no password. */
export class AddressFault extends Error {
  override name = 'AddressFault'
}

/**
 * Parts of `postgres://user:password@host:port/database`, with `?host=/folder` for a unix socket and `sslmode` and
 * `sslrootcert` (a file of certificates) as libpq knows them. Throws AddressFault.
 */
export function parseSqlAddress(text: string): SqlAddress {
  const url = URL.parse(text)
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new AddressFault('must be an address such as postgres://user:password@host/database')
  }
  const given = url.searchParams
  const unknown = [...given.keys()].find((name) => !parameters.includes(name))
  if (unknown !== undefined) {
    throw new AddressFault(`has ${unknown}, which is not known here: ${parameters.join(', ')} are`)
  }
  const [user, database] = [decoded(url.username), decoded(url.pathname.slice(1))]
  if (user === '' || database === '') {
    const missing = user === '' ? 'account' : 'database'
    throw new AddressFault(`names no ${missing}: postgres://user:password@host/database`)
  }
  const folder = given.get('host')
  const port = Number(url.port || DEFAULT_PORT)
  return {
    ...{ port, user, database, password: decoded(url.password) },
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    ...(folder === null ? {} : { path: join(folder, `.s.PGSQL.${port}`) }),
    ssl: folder === null ? encryption(url) : false,
  }
}

function encryption({ hostname, searchParams }: URL): Encryption {
  const mode = searchParams.get('sslmode')
  const file = searchParams.get('sslrootcert')
  if (mode !== null && !sslModes.includes(mode)) {
    throw new AddressFault(`has an sslmode that is not known here: ${sslModes.join(', ')} are`)
  }
  if (file !== null && mode !== 'verify-full') {
    throw new AddressFault('has sslrootcert, which goes with sslmode=verify-full')
  }
  if (mode === null && hostname !== '' && !loopback.test(hostname)) {
    throw new AddressFault(
      'leads to another machine and does not say whether to encrypt: add ?sslmode=verify-full, or ?sslmode=disable where the network is yours alone',
    )
  }
  if (mode === 'require') return 'require'
  if (mode !== 'verify-full') return false
  return file === null ? {} : { ca: certificates(file) }
}

function certificates(file: string): string {
  if (!isAbsolute(file)) throw new AddressFault('has an sslrootcert that does not begin with /')
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new AddressFault(`names ${file} as sslrootcert, which cannot be read`)
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new AddressFault(`names ${file} as sslrootcert, which holds no certificate in PEM`)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new AddressFault('has a % that is none of an encoding such as %40: write it as %25')
  }
}
