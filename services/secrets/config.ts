/** The environment of the secrets service, read once. */
import {
  type Env,
  readEnv,
  readSecretSource,
  serviceConfig,
  serviceEnv,
  settingFault,
} from '@bmm/lib/env'
import { keyFault, keyFrom } from '@bmm/lib/envelope'
import { z } from 'zod'

/** Throws ConfigError that names every fault; refuses to go on without a sound key-encryption key. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      /** The key-encryption key: `fd:N` or a path to 32 raw bytes, their base64 or hex; in development also `base64:…`. */
      BMM_KEK: z.string().min(1),
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    kek: kekFrom(vars.BMM_KEK, vars.BMM_ENV),
  }
}

function kekFrom(source: string, environment: 'development' | 'production'): Buffer {
  const kek = keyFrom(kekSource(source, environment))
  const fault = keyFault(kek)
  if (fault !== undefined) throw settingFault('BMM_KEK', fault)
  return kek
}

function kekSource(source: string, environment: 'development' | 'production'): Buffer {
  if (!source.startsWith('base64:')) return readSecretSource(source, 'BMM_KEK')
  if (environment === 'production') {
    throw settingFault(
      'BMM_KEK',
      'a key in the environment is for development; give fd:N or a path in production',
    )
  }
  return Buffer.from(source.slice('base64:'.length))
}
