/** The secrets of a stack: made at its first start, kept in files that only root reads, handed on by descriptor. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type ServiceName, serviceNames } from '@bmm/lib/identity'

const KEK_BYTES = 32
const PASSWORD_BYTES = 24
const STACK_ID_LENGTH = 16

/** Ed25519 keys: one a service, and the one that `auth` signs user tokens with. */
const keyOwners = [...serviceNames, 'auth-user'] as const
const kekOwners = ['secrets', 'auth'] as const
export type KekOwner = (typeof kekOwners)[number]
export type KeyOwner = ServiceName | 'auth-user'

/** Path of a key's file: PKCS #8 PEM. */
export function keyFile(folder: string, owner: KeyOwner): string {
  return join(folder, `${owner}.pem`)
}

/** Path of a service's key-encryption key: 32 bytes as base64. Each has its own, so that none can unwrap another's. */
export function kekFile(folder: string, owner: KekOwner): string {
  return join(folder, `${owner}.kek`)
}

/** Makes what is missing in the folder; never replaces a key, since data is sealed and tokens signed with them. */
export function prepareKeys(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const owner of keyOwners) {
    writeOnce(keyFile(folder, owner), () =>
      generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    )
  }
  for (const owner of kekOwners) {
    writeOnce(kekFile(folder, owner), () => `${randomBytes(KEK_BYTES).toString('base64')}\n`)
  }
}

/** Text of the file that all services verify each other with. */
export function publicKeysText(folder: string): string {
  return JSON.stringify(
    Object.fromEntries(
      keyOwners.map((owner) => [
        owner,
        publicKeyOf(createPrivateKey(readFileSync(keyFile(folder, owner)))),
      ]),
    ),
  )
}

/** What a stack is called in stores that are not its own: it says nothing, and stays as long as the keys. */
export function stackId(folder: string): string {
  const key = publicKeyOf(createPrivateKey(readFileSync(keyFile(folder, 'secrets'))))
  return createHash('sha256').update(key).digest('hex').slice(0, STACK_ID_LENGTH)
}

/** A password of this stack, made when it is first asked for. */
export function passwordOf(folder: string, owner: string): string {
  const path = join(folder, `${owner}.password`)
  writeOnce(path, () => randomBytes(PASSWORD_BYTES).toString('hex'))
  return readFileSync(path, 'utf8')
}

function publicKeyOf(privateKey: KeyObject): string {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).toString('base64')
}

/** A crash must not leave half a key: written aside, flushed, then renamed. */
function writeOnce(path: string, make: () => string): void {
  if (existsSync(path)) return
  const aside = `${path}.new`
  const descriptor = openSync(aside, 'w', 0o600)
  writeSync(descriptor, make())
  fsyncSync(descriptor)
  closeSync(descriptor)
  renameSync(aside, path)
}
