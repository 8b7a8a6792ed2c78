/** Words that could pass a server off as somebody else's: the platform's own, claims of approval, and known brands. */

const platformNames = /(?:^|-)build-?my-?mcp(?:-|$)/
/** Only the platform may say these of itself. */
const authorityWords = words(`
  admin administrator certified official security support system verified
`)
const claimWords = words('authentic certified genuine official officially original verified')

/** Companies and products that many people have accounts with. */
const brands = words(`
  adobe airtable alexa amazon android anthropic apple asana atlassian aws azure binance bitbucket box canva chatgpt claude
  cloudflare coinbase confluence databricks datadog deepseek discord docusign dropbox ebay facebook figma firebase gemini
  github gitlab gmail google grafana heroku hubspot huggingface icloud instagram intuit jira linear linkedin mailchimp
  mastercard meta metamask microsoft mistral netflix notion nvidia office365 okta onedrive openai oracle outlook pagerduty
  paypal perplexity pinterest plaid quickbooks reddit revolut salesforce sentry servicenow sharepoint shopify slack
  snapchat snowflake spotify stripe supabase telegram tesla tiktok trello twilio twitch twitter uber vercel visa whatsapp
  wikipedia wordpress workday xero yahoo youtube zapier zendesk zoom
`)
const brandInTwoWords = /\b(chat|linked|open|pay|whats|you)-(gpt|in|ai|pal|app|tube)\b/g
const letterOf: Readonly<Record<string, string>> = { 0: 'o', 3: 'e', 4: 'a', 5: 's' }
/** A shorter one is found within too many other words. */
const SHORTEST_JOINED_BRAND = 5

/** What brands call their products, and words that say nothing of whose a server is: none of the owner's own. */
const productWords = words(`
  account accounts actions ads agent ai analytics api apis app apps assistant auth bot business calendar chat checkout
  cloud code com connect connector console contacts copilot crm desktop developer developers docs documents drive email
  enterprise files forms gateway gpt graph graphql help home hub id inc integration io issues link mail maps mcp meet
  messages mobile net new now official online org pay payment payments photos platform plugin portal premium pro real rest
  safe search secure server service services sheets signin slides staff storage store studio suite team teams tool tools
  trusted tv wallet web word workspace a an and by com for from in of on our the to with your
`)

const brandFixes = 'Add a word of your own, such as your name or what it is for (acme-github).'

/** Why a slug would pass for somebody else's server, as a sentence; undefined when it would not. */
export function slugReservation(slug: string): string | undefined {
  if (platformNames.test(slug)) {
    return `The slug "${slug}" holds the name of this platform, which is reserved. Choose another.`
  }
  const parts = slug.replace(brandInTwoWords, '$1$2').split('-')
  const brand = parts.map(brandIn).find((found) => found !== undefined)
  if (brand !== undefined && parts.some((part) => claimWords.has(part))) {
    return `The slug "${slug}" claims to speak for ${brand}, which is reserved. Choose one without the claim. ${brandFixes}`
  }
  if (parts.some(isOwnWord)) return undefined
  if (brand !== undefined) {
    return `The slug "${slug}" is reserved, because it would pass for a server of ${brand}. ${brandFixes}`
  }
  if (!parts.some((part) => authorityWords.has(part))) return undefined
  return `The slug "${slug}" is reserved, because it would pass for a server of this platform. Add a word of your own.`
}

/** A word that says whose or what for: no brand, nothing generic, no number or version, no single letter. */
function isOwnWord(part: string): boolean {
  if (part.length < 2 || /^(?:v?\d+)$/.test(part)) return false
  return !productWords.has(part) && !authorityWords.has(part) && brandIn(part) === undefined
}

/** The brand that a word is, also run together with a product's word (`googledrive`) or with digits for letters (`g00gle`). */
function brandIn(part: string): string | undefined {
  for (const spelling of spellings(part)) {
    if (brands.has(spelling)) return spelling
    for (const brand of brands) {
      if (brand.length < SHORTEST_JOINED_BRAND || !spelling.includes(brand)) continue
      const rest = spelling.replace(brand, '')
      if (productWords.has(rest) || claimWords.has(rest) || /^v?\d+$/.test(rest)) return brand
    }
  }
  return undefined
}

function spellings(part: string): string[] {
  const letters = part.replace(/[0345]/g, (digit) => letterOf[digit] ?? digit)
  return [...new Set([part, letters.replaceAll('1', 'l'), letters.replaceAll('1', 'i')])]
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/))
}
