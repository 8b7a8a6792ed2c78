/** As much of a browser as signing in needs: cookies, redirects that are looked at, forms. */

const MAX_REDIRECTS = 20

export type Page = { status: number; url: string; html: string; location: string | undefined }

export type Browser = {
  get(url: string): Promise<Page>
  /** Submits the page's form that has this button (`name=value`, or the form's only button). */
  submit(page: Page, fields?: Record<string, string>, button?: string): Promise<Page>
  cookies: Map<string, string>
}

/** A browser without memory of anything, at an address that a trusted proxy would tell; redirects on the same origin are followed, others returned. */
export function openBrowser(origin: string, address?: string): Browser {
  const cookies = new Map<string, string>()

  async function load(url: string, init: RequestInit = {}, hops = 0): Promise<Page> {
    if (hops > MAX_REDIRECTS) throw new Error(`redirected for ever, last to ${url}`)
    const headers = new Headers(init.headers)
    if (address !== undefined) headers.set('x-forwarded-for', address)
    if (cookies.size > 0) {
      headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    }
    const response = await fetch(url, { ...init, headers, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';')
      const at = pair.indexOf('=')
      if (/max-age=0/i.test(line)) cookies.delete(pair.slice(0, at))
      else cookies.set(pair.slice(0, at), pair.slice(at + 1))
    }
    const header = response.headers.get('location')
    const location = header === null ? undefined : new URL(header, url).href
    const html = await response.text()
    if (location?.startsWith(`${origin}/`)) return load(location, {}, hops + 1)
    return { status: response.status, url, html, location }
  }

  return {
    cookies,
    get: (url) => load(url),
    submit(page, fields = {}, button) {
      const form = findForm(page.html, button)
      const body = new URLSearchParams({ ...hiddenFields(form), ...fields })
      if (button !== undefined) {
        const [name = '', value = ''] = button.split('=')
        body.set(name, value)
      }
      const action = unescapeHtml(/action="([^"]*)"/.exec(form)?.[1] ?? page.url)
      return load(new URL(action, page.url).href, {
        method: 'POST',
        body,
        headers: { origin: new URL(page.url).origin },
      })
    },
  }
}

function findForm(html: string, button: string | undefined): string {
  const forms = html.match(/<form[\s\S]*?<\/form>/g) ?? []
  const [name, value] = button?.split('=') ?? []
  const form = forms.find(
    (candidate) =>
      button === undefined ||
      (candidate.includes(`name="${name}"`) && candidate.includes(`value="${value}"`)),
  )
  if (form === undefined) throw new Error(`no such form on the page: ${html.slice(0, 2_000)}`)
  return form
}

function hiddenFields(form: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const input of form.match(/<input[^>]*type="hidden"[^>]*>/g) ?? []) {
    const name = /name="([^"]*)"/.exec(input)?.[1]
    if (name !== undefined) fields[name] = unescapeHtml(/value="([^"]*)"/.exec(input)?.[1] ?? '')
  }
  return fields
}

function unescapeHtml(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&#x27;', "'")
    .replaceAll('&amp;', '&')
}
