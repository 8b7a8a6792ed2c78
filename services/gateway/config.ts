/** The environment of the gateway, read once. */
import { isIP } from 'node:net'
import {
  type Env,
  publicUrlSchema,
  readEnv,
  serviceConfig,
  serviceEnv,
  tracingConfig,
  tracingEnv,
} from '@bmm/lib/env'
import { listenAddresses } from '@bmm/lib/listen-addresses'
import { z } from 'zod'
import { trustedProxies } from './arrival/client-ip.ts'

const MAX_PORT = 65_535
const addressPattern = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-f:.]+)\]):(\d{1,5})$/i
const everywhere = new Set(['0.0.0.0', '::'])

const shape = {
  ...serviceEnv,
  ...tracingEnv,
  /** What becomes of a client's own traceparent. */
  BMM_TRACE_CLIENTS: z.enum(['ignore', 'link', 'parent']).default('ignore'),
  BMM_REDIS_URL: z.string().min(1),
  /** Issuer of tokens and the only host that is answered. */
  BMM_PUBLIC_URL: publicUrlSchema,
  /** Origins that the platform had before, parted by commas: what was confirmed under them is served at the one of now. */
  BMM_FORMER_URLS: z.string().default('').transform(entriesOf).pipe(z.array(publicUrlSchema)),
  /** Folder that development mail goes to, told to who waits for a mail; a path and no more. */
  BMM_MAILBOX_DIR: z.string().min(1).optional(),
  BMM_PORT: z.coerce.number().int().min(0).max(MAX_PORT),
  BMM_GRPC_PORT: z.coerce.number().int().min(0).max(MAX_PORT),
  /** Addresses and ranges, parted by commas, whose `X-Forwarded-For` and `Forwarded` are believed. */
  BMM_TRUSTED_PROXIES: z.string().default('').refine(isProxyList, {
    error: 'must be IP addresses or ranges such as 10.0.0.0/8, parted by commas',
  }),
  /** Addresses parted by commas that both ports listen on, beside loopback. */
  BMM_LISTEN: z.string().default('').refine(isAddressList, {
    error: 'must be IP addresses of this machine, parted by commas',
  }),
  /** Where Prometheus may ask; nowhere unless set. */
  BMM_METRICS_ADDRESS: z
    .string()
    .refine((text) => metricsAddress(text) !== undefined, {
      error: 'must be one address and port such as 127.0.0.1:9464, not every address',
    })
    .optional(),
}

/** Throws ConfigError that names every fault. */
export function configFrom(env: Env = process.env) {
  const vars = readEnv(shape, env)
  return {
    ...serviceConfig(vars),
    redisUrl: vars.BMM_REDIS_URL,
    publicUrl: vars.BMM_PUBLIC_URL,
    formerUrls: vars.BMM_FORMER_URLS,
    port: vars.BMM_PORT,
    mailbox: vars.BMM_ENV === 'development' ? vars.BMM_MAILBOX_DIR : undefined,
    grpcPort: vars.BMM_GRPC_PORT,
    addresses: listenAddresses(vars.BMM_LISTEN),
    trusted: trustedProxies(entriesOf(vars.BMM_TRUSTED_PROXIES)),
    tracing: tracingConfig(vars),
    traceClients: vars.BMM_TRACE_CLIENTS,
    metricsAddress: metricsAddress(vars.BMM_METRICS_ADDRESS ?? ''),
  }
}

/** Undefined where the text is no address that metrics may be given out at. */
function metricsAddress(text: string): { hostname: string; port: number } | undefined {
  const [, v4, v6, digits] = addressPattern.exec(text) ?? []
  const hostname = v4 ?? v6 ?? ''
  const port = Number(digits)
  const isUsable = isIP(hostname) !== 0 && !everywhere.has(hostname) && port <= MAX_PORT
  return isUsable ? { hostname, port } : undefined
}

function entriesOf(list: string): string[] {
  return list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

function isProxyList(list: string): boolean {
  return isReadable(() => trustedProxies(entriesOf(list)))
}

function isAddressList(list: string): boolean {
  return isReadable(() => listenAddresses(list))
}

function isReadable(read: () => unknown): boolean {
  try {
    read()
    return true
  } catch (thrown) {
    if (thrown instanceof RangeError) return false
    throw thrown
  }
}
