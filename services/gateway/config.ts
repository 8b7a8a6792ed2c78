/** The environment of the gateway, read once. */
import { type Env, readEnv, serviceEnv } from '@bmm/lib/env'
import type { LogLevel } from '@bmm/lib/log'
import { z } from 'zod'
import { trustedProxies } from './client-ip.ts'

export type Config = {
  production: boolean
  logLevel: LogLevel
  rpcDir: string
  serviceKey: string
  servicePublicKeys: string
  redisUrl: string
  /** An origin without a trailing slash: issuer of tokens and the only host that is answered. */
  publicUrl: string
  port: number
  /** Addresses and ranges whose `X-Forwarded-For` is believed. */
  trustedProxies: string[]
}

/** Plain http is for this machine only: everywhere else cookies and tokens would travel in clear. */
const publicUrlSchema = z.string().refine((value) => {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  const local = url.protocol === 'http:' && url.hostname === 'localhost'
  return url.origin === value && (url.protocol === 'https:' || local)
}, 'must be an https origin without a path, or http://localhost:PORT')

const shape = {
  ...serviceEnv,
  BMM_REDIS_URL: z.string().min(1),
  BMM_PUBLIC_URL: publicUrlSchema,
  BMM_PORT: z.coerce.number().int().min(0).max(65_535),
  BMM_TRUSTED_PROXIES: z
    .string()
    .default('')
    .transform((list) => list.split(',').flatMap((entry) => entry.trim() || []))
    .refine(isProxyList, 'must be IP addresses or ranges such as 10.0.0.0/8, parted by commas'),
}

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env): Config {
  const read = readEnv(shape, env)
  const production = read.BMM_ENV === 'production'
  return {
    production,
    logLevel: read.BMM_LOG_LEVEL,
    rpcDir: read.BMM_RPC_DIR,
    serviceKey: read.BMM_SERVICE_KEY,
    servicePublicKeys: read.BMM_SERVICE_PUBLIC_KEYS,
    redisUrl: read.BMM_REDIS_URL,
    publicUrl: read.BMM_PUBLIC_URL,
    port: read.BMM_PORT,
    trustedProxies: read.BMM_TRUSTED_PROXIES,
  }
}

function isProxyList(entries: readonly string[]): boolean {
  try {
    trustedProxies(entries)
    return true
  } catch (thrown) {
    if (thrown instanceof RangeError) return false
    throw thrown
  }
}
