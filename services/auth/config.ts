/** The environment of the auth service, read once. */
import {
  type Env,
  publicUrlSchema,
  readEnv,
  readSecretSource,
  serviceConfig,
  serviceEnv,
  settingFault,
} from '@bmm/lib/env'
import { keyFault, keyFrom } from '@bmm/lib/envelope'
import { z } from 'zod'
import { userTokenKey } from './user-token.ts'

/** Throws ConfigError that names every fault; refuses production without a mail sender and a sound key. */
export function configFrom(env: Env = process.env) {
  const production = env.BMM_ENV !== 'development'
  const vars = readEnv(
    {
      ...serviceEnv,
      BMM_DATABASE_URL: z.string().min(1),
      BMM_REDIS_URL: z.string().min(1),
      /** The public origin: the issuer of all tokens, never to be changed afterwards. */
      BMM_PUBLIC_URL: publicUrlSchema,
      /** Ed25519 PKCS #8 PEM that signs user tokens: `fd:N` or a path. */
      BMM_USER_TOKEN_KEY: z.string().min(1),
      /** The key-encryption key: `fd:N` or a path to 32 bytes, base64 or hex; in development also `base64:…`. */
      BMM_AUTH_KEK: z
        .string()
        .min(1)
        .refine((source) => !(production && source.startsWith('base64:')), {
          message: 'a key in the environment is for development; give fd:N or a path',
        }),
      ...mailEnv(env, production),
    },
    env,
  )
  return {
    ...serviceConfig(vars),
    databaseUrl: vars.BMM_DATABASE_URL,
    redisUrl: vars.BMM_REDIS_URL,
    publicUrl: vars.BMM_PUBLIC_URL,
    userTokenKey: readUserTokenKey(vars.BMM_USER_TOKEN_KEY),
    kek: readKek(vars.BMM_AUTH_KEK),
    mail: mailFrom(vars, production),
  }
}

export type MailConfig =
  | { kind: 'smtp'; url: string; from: string; requireTls: boolean }
  | { kind: 'mailbox'; directory: string }

/** Exactly one sender: SMTP, or in development a folder. */
function mailEnv(env: Env, production: boolean) {
  const smtp = env.BMM_SMTP_URL !== undefined
  const needed = 'a sender of sign-in mails is needed: BMM_SMTP_URL with BMM_MAIL_FROM'
  return {
    BMM_SMTP_URL:
      production || env.BMM_MAILBOX_DIR === undefined
        ? z
            .string(production ? needed : `${needed}, or BMM_MAILBOX_DIR in development`)
            .regex(/^smtps?:\/\/[^/]+/, 'must be smtp://… or smtps://…')
            .refine(
              URL.canParse,
              'is no address: write # / ? and @ of a password as %23 %2F %3F %40',
            )
        : z.undefined('give either BMM_SMTP_URL or BMM_MAILBOX_DIR').optional(),
    BMM_MAIL_FROM: smtp
      ? z.string('is needed beside BMM_SMTP_URL').regex(/^[^\r\n]*@[^\r\n]+$/, 'must be an address')
      : z.string().optional(),
    BMM_MAILBOX_DIR: production
      ? z.undefined('a mailbox folder is for development only').optional()
      : z.string().startsWith('/').optional(),
  }
}

function mailFrom(
  vars: {
    BMM_SMTP_URL?: string | undefined
    BMM_MAIL_FROM?: string | undefined
    BMM_MAILBOX_DIR?: string | undefined
  },
  production: boolean,
): MailConfig {
  if (vars.BMM_MAILBOX_DIR !== undefined) {
    return { kind: 'mailbox', directory: vars.BMM_MAILBOX_DIR }
  }
  const url = vars.BMM_SMTP_URL ?? ''
  const local = isLoopback(new URL(url).hostname)
  return {
    kind: 'smtp',
    url,
    from: vars.BMM_MAIL_FROM ?? '',
    requireTls: production && !local && !url.startsWith('smtps:'),
  }
}

function isLoopback(hostname: string): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}

function readKek(source: string): Buffer {
  const kek = source.startsWith('base64:')
    ? keyFrom(Buffer.from(source.slice('base64:'.length)))
    : keyFrom(readSecretSource(source, 'BMM_AUTH_KEK'))
  const fault = keyFault(kek)
  if (fault !== undefined) throw settingFault('BMM_AUTH_KEK', fault)
  return kek
}

function readUserTokenKey(source: string) {
  const pem = readSecretSource(source, 'BMM_USER_TOKEN_KEY')
  try {
    return userTokenKey(pem)
  } catch {
    throw settingFault('BMM_USER_TOKEN_KEY', 'must be an Ed25519 key as PKCS #8 PEM')
  }
}
