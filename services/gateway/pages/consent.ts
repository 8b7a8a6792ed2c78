/** The consent page: who asks, for what, and where the answer goes, with what is unverified marked as such. */
import type { Consent } from '@bmm/proto/auth/v1/oauth_service'
import { CALL_SCOPE, OFFLINE_SCOPE } from '@bmm/spec/scope'
import { displayed, html } from './html.ts'
import { pageResponse } from './layout.ts'

const MAX_SHOWN_ORIGINS = 50
const scopeWords: Readonly<Record<string, string>> = {
  [CALL_SCOPE]: 'See and call the tools of this server in your name',
  [OFFLINE_SCOPE]: 'Keep this permission until you or it takes it back',
}

export function consentPage(consent: Consent, returnTo: string): Response {
  const { clientName, redirectHost, resource, scopes } = consent
  const server = displayed(resource?.name ?? '')
  const client = displayed(clientName) || 'A program without a name'
  const origins = resource?.origins ?? []
  return pageResponse({
    title: 'Allow access?',
    formsLeave: true,
    body: html`<h1>Allow “${client}” to use “${server}”?</h1>
${
  consent.clientByOperator
    ? html`<p>The operator of this platform has registered this program. Go on only if you started this yourself, just now.</p>`
    : html`<p class="note">“${client}” is what the program calls itself. Nobody has verified that name. Go on only if you started this yourself, just now.</p>`
}
<dl>
<div><dt>The answer goes to</dt><dd><code>${displayed(redirectHost)}</code>${loopback(redirectHost)}</dd></div>
<div><dt>Server</dt><dd>${server} (a name that its author chose; not verified)<br><code>${resource?.url ?? ''}</code></dd></div>
<div><dt>Offered by the account</dt><dd>${displayed(consent.orgName)}</dd></div>
<div><dt>It would be able to</dt><dd><ul>${scopes.map((scope) => html`<li>${scopeWords[scope] ?? displayed(scope)}</li>`)}</ul></dd></div>
<div><dt>The server may talk to</dt><dd>${originList(origins)}</dd></div>
</dl>
<form method="post" action="/oauth/consent">
<input type="hidden" name="request_id" value="${consent.requestId}">
<input type="hidden" name="csrf_token" value="${consent.csrfToken}">
<input type="hidden" name="resource" value="${resource?.url ?? ''}">
<div class="actions">
<button type="submit" name="decision" value="allow">Allow</button>
<button class="second" type="submit" name="decision" value="deny">Deny</button>
</div>
</form>
<div class="quiet">You are signed in as ${consent.userEmail}.
<form class="inline" method="post" action="/logout"><input type="hidden" name="return_to" value="${returnTo}"><button class="link" type="submit">Use another account</button></form></div>`,
  })
}

function originList(origins: readonly string[]) {
  if (origins.length === 0) return html`Nobody: it has no way out`
  const shown = origins.slice(0, MAX_SHOWN_ORIGINS)
  return html`<ul>${shown.map((origin) => html`<li><code>${origin}</code></li>`)}</ul>`
}

function loopback(host: string) {
  return /^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(host) ? html` (this computer)` : undefined
}
