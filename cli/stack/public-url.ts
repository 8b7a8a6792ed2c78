/** The origin that people reach: kept with the data, because every token, client and server address contains it. */
import { failed } from '../fault.ts'
import { bmm } from '../hint.ts'
import { findSettings, type Kept, writeSettings } from './settings.ts'

/** A platform that moves more often than this is asked to start afresh: each origin is looked at for each server. */
const MAX_FORMER_URLS = 32

export type PublicUrl = { publicUrl: string; formerUrls: string[] }

/** The kept public URL, or undefined before the first start. */
export function findPublicUrl(data: string): PublicUrl | undefined {
  const kept = findSettings(data)
  if (kept === undefined) return undefined
  return { publicUrl: originOf(kept.publicUrl, kept), formerUrls: kept.formerUrls ?? [] }
}

/**
 * For a start: keeps what the environment says at the first one, and from then on refuses another.
 * `told` is what the operator should know. Throws CommandFault `public_url_changed`.
 */
export function openPublicUrl(
  data: string,
  given: string | undefined,
): PublicUrl & { told: string | undefined } {
  const kept = keptSettings(data)
  if (kept.publicUrl === undefined) {
    writeSettings(data, { ...kept, publicUrl: given ?? null })
    return { publicUrl: originOf(given, kept), formerUrls: kept.formerUrls ?? [], told: undefined }
  }
  requireSamePublicUrl(data, given)
  const found = { publicUrl: originOf(kept.publicUrl, kept), formerUrls: kept.formerUrls ?? [] }
  const isRemembered = given === undefined && kept.publicUrl !== null
  return {
    ...found,
    told: isRemembered ? `public URL ${found.publicUrl}, as kept in ${data}` : undefined,
  }
}

/** Throws CommandFault where the environment names another public URL than the kept one. */
export function requireSamePublicUrl(data: string, given: string | undefined): void {
  const kept = findSettings(data)
  if (given === undefined || kept?.publicUrl === undefined || given === kept.publicUrl) return
  throw failed(
    'public_url_changed',
    `The data in ${data} belongs to ${originOf(kept.publicUrl, kept)}, and BMM_PUBLIC_URL says ${given}. Every token, client and server address contains it: leave BMM_PUBLIC_URL out, or move the platform: ${bmm('down', data)}, then ${bmm(`public-url set ${given}`, data)}.`,
  )
}

/** Moves a stopped stack to another origin; null is localhost. Servers go on at the new address. */
export function movePublicUrl(data: string, wanted: string | null): { was: string; now: string } {
  const kept = keptSettings(data)
  const was = originOf(kept.publicUrl, kept)
  const now = originOf(wanted, kept)
  const formerUrls = [...new Set([...(kept.formerUrls ?? []), was])].filter((url) => url !== now)
  if (formerUrls.length > MAX_FORMER_URLS) {
    throw failed(
      'moved_too_often',
      `This stack had ${MAX_FORMER_URLS} other addresses already: go back to one of them, or start another stack with --data.`,
    )
  }
  writeSettings(data, { ...kept, publicUrl: wanted, formerUrls })
  return { was, now }
}

function keptSettings(data: string): Kept {
  const kept = findSettings(data)
  if (kept !== undefined) return kept
  throw failed(
    'never_started',
    `No stack was ever started on ${data}: give BMM_PUBLIC_URL at its first start.`,
    { next: 'up --detach' },
  )
}

function originOf(publicUrl: string | null | undefined, { port }: Kept): string {
  return publicUrl ?? `http://localhost:${port}`
}
