/** The environment of the secrets service, read once. */
import { readFileSync } from 'node:fs'
import { ConfigError, type Env, readEnv, readSecretSource, serviceEnv } from '@bmm/lib/env'
import { z } from 'zod'
import { kekFrom } from './keyring.ts'

export type Config = ReturnType<typeof configFrom>

/** Throws ConfigError that names every fault; refuses to go on without a sound key-encryption key. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      /** The key-encryption key: `fd:N` or a path to 32 raw bytes or their base64; in development also `base64:…`. */
      BMM_KEK: z.string().min(1),
    },
    env,
  )
  return {
    logLevel: vars.BMM_LOG_LEVEL,
    rpcDir: vars.BMM_RPC_DIR,
    databaseUrl: vars.BMM_DATABASE_URL,
    privateKeyPem: readSecretSource(vars.BMM_SERVICE_KEY, 'BMM_SERVICE_KEY').toString('utf8'),
    publicKeys: readFileSync(vars.BMM_SERVICE_PUBLIC_KEYS, 'utf8'),
    kek: kekFrom(kekSource(vars.BMM_KEK, vars.BMM_ENV)),
  }
}

function kekSource(source: string, environment: 'development' | 'production'): Buffer {
  if (!source.startsWith('base64:')) return readSecretSource(source, 'BMM_KEK')
  if (environment === 'production') {
    throw new ConfigError(
      'BMM_KEK: a key in the environment is for development; give fd:N or a path in production',
    )
  }
  return Buffer.from(source.slice('base64:'.length), 'base64')
}
