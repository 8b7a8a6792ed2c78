/** What the name of a server may not claim, because the consent page shows it to people who cannot check it (pure). */
import { readingsOf } from '../scan/prose.ts'

/** Claims of approval, in the languages that most documents are written in; read without accents and in lower case. */
const claims = [
  /\b(?:official|officially|verified|certified|endorsed)\b/,
  /\b(?:approved|reviewed|checked|confirmed|trusted|guaranteed|authenticated|vetted|recommended) by\b/,
  /\b(?:oficial|verificad[oa]|offiziell\w*|verifiziert\w*|gepruft|officiel\w*|verifiee?|ufficiale|verificat[oa]|officieel|geverifieerd|oficjaln\w*|resmi|terverifikasi)\b/,
  /(?<!\p{L})(?:официальн\p{L}*|проверен\p{L}*)/u,
  /公式|認証済み|官方|已认证|已認證|已验证|已驗證|공식|인증됨/u,
]
/** Ticks, seals and locks, which browsers and shops show for what they have checked. */
const seals = /[\u2611\u2705\u2713\u2714\u{1f3c5}\u{1f512}\u{1f6e1}]/u
const platformName = /\bbuild ?my ?mcp\b/

const fixes = 'Choose another name, with `name` (CLI: --name) or in the document’s title.'

/** Why a server may not be called that, as a sentence; undefined when it may. A brand's name alone may stand in it. */
export function serverNameFault(name: string): string | undefined {
  const readings = readingsOf(name).map((reading) => reading.normalize('NFC'))
  if (readings.some((reading) => platformName.test(reading))) {
    return `The server’s name holds the name of this platform, which would speak for it. ${fixes}`
  }
  const claim = readings.flatMap((reading) =>
    claims.flatMap((each) => each.exec(reading)?.[0] ?? []),
  )[0]
  const seal = claim ?? seals.exec(name)?.[0]
  if (seal === undefined) return undefined
  return `The server’s name claims what this platform has not checked (“${seal}”). ${fixes}`
}
