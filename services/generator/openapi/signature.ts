/** Requests that must be signed: how a document asks for it, and which parameters only a signature fills. */
import { type JsonObject, textAt } from './json.ts'
import type { Notices } from './notices.ts'
import type { ParameterSource } from './parameter.ts'
import { line } from './prose.ts'

/** Of AWS Signature Version 4, in headers or, in a presigned URL, in the query. */
const amazonSignature =
  /^x-amz-(?:algorithm|content-sha256|credential|date|expires|security-token|signature|signedheaders)$/i
/** What signatures are made of elsewhere: these are asked for only beside one. */
const signatureInput =
  /^(?:x-(?:[a-z0-9]+-)?)?(?:signature(?:-(?:input|method|version|certificate))?|signed-?headers|(?:content-)?digest|content-(?:sha256|md5)|hmac|date|timestamp|nonce)$/i
const signatureQuery =
  /^(?:signature(?:method|version)?|sig|sign|timestamp|nonce|awsaccesskeyid|oauth_(?:signature(?:_method)?|timestamp|nonce|version))$/i
const signatureHeader = /(?:^|[-_.])(?:signature|hmac)$/i
const signedWords =
  /\bsig(?:nature)?[ -]?v(?:ersion )?[24]\b|\bsignature authorization\b|\bHMAC\b|\brequest signature\b|\b(?:hash|signature) of the request\b|\bsign(?:s|ed|ing)? (?:each|every|all|the|your) (?:api )?requests?\b/i
/** A signed token is a value that a person can have. */
const tokenWords = /\bJWT\b|JSON web token/i
const MAX_NAMES_SHOWN = 300

/** What the scheme signs with, for a sentence; undefined for one whose value can simply be sent. */
export function signingScheme(name: string, scheme: JsonObject): string | undefined {
  const amazon = textAt(scheme, 'x-amazon-apigateway-authtype')
  if (amazon !== undefined && /^aws(?:sig|s3)/i.test(amazon)) {
    return /v2|s3$/i.test(amazon) ? 'AWS Signature Version 2' : 'AWS Signature Version 4'
  }
  if (textAt(scheme, 'type')?.toLowerCase() !== 'apikey') return undefined
  const said = textAt(scheme, 'description') ?? ''
  if (tokenWords.test(`${name} ${said}`)) return undefined
  const parameter = textAt(scheme, 'name') ?? ''
  const isNamed = signatureHeader.test(parameter) || /^sig$/i.test(parameter)
  const isCalled = /hmac|sig(?:nature)?_?v[24]|(?:^|_)signature|signed_?request/i.test(name)
  if (!isNamed && !isCalled && !signedWords.test(said)) return undefined
  return `"${line(name, 60)}"`
}

/** The parameters without those that only a signature fills; a warning says that the API will refuse the calls. */
export function withoutSignature(
  parameters: readonly ParameterSource[],
  scheme: string | undefined,
  at: string,
  notices: Notices,
): ParameterSource[] {
  const signing = scheme ?? signingParameter(parameters)
  if (signing === undefined) return [...parameters]
  const isInput = ({ in: place, name }: ParameterSource) =>
    (place === 'header' && (signatureInput.test(name) || signatureHeader.test(name))) ||
    (place === 'query' && signatureQuery.test(name)) ||
    ((place === 'header' || place === 'query') && amazonSignature.test(name))
  const left = parameters.filter(isInput).map(({ name }) => name)
  const shown = line(left.join(', '), MAX_NAMES_SHOWN)
  notices.warn(
    at,
    `The API wants requests signed (${signing}), which this server cannot do, so it will probably refuse the calls. Give the base URL of a proxy that signs them, or leave the operation out.${
      shown === '' ? '' : ` Left out, as only a signature needs them: ${shown}.`
    }`,
  )
  return parameters.filter((parameter) => !isInput(parameter))
}

/** A header or query parameter that can only be a signature of the request. */
function signingParameter(parameters: readonly ParameterSource[]): string | undefined {
  const names = new Set(parameters.map(({ name }) => name.toLowerCase()))
  const hasCompanion = ['timestamp', 'nonce', 'awsaccesskeyid'].some((name) => names.has(name))
  const found = parameters.find(({ in: place, name, description }) => {
    if (place === 'header') return signatureHeader.test(name) || /^x-amz-signature$/i.test(name)
    if (place !== 'query') return false
    if (/^(?:oauth_signature|x-amz-signature)$/i.test(name)) return true
    return (
      /^(?:signature|sig|sign)$/i.test(name) &&
      (hasCompanion || signedWords.test(description ?? ''))
    )
  })
  return found === undefined ? undefined : `"${line(found.name, 60)}"`
}
