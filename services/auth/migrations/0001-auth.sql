-- People, organisations and the ways to sign in.
create table users (
  id text primary key,
  email text not null unique check (email = lower(email)),
  created_at timestamptz not null
);

create table orgs (
  id text primary key,
  name text not null,
  -- Set on the one organisation that everybody gets at the first sign-in.
  personal_of text unique references users (id) on delete cascade,
  created_at timestamptz not null
);

create table members (
  org_id text not null references orgs (id) on delete cascade,
  user_id text not null references users (id) on delete cascade,
  role text not null check (role in ('owner', 'admin', 'builder', 'viewer', 'billing')),
  created_at timestamptz not null,
  primary key (org_id, user_id)
);
create index members_by_user on members (user_id);

create table sessions (
  id text primary key,
  -- SHA-256 of the token; the token itself is nowhere.
  token_hash bytea not null unique,
  user_id text not null references users (id) on delete cascade,
  org_id text not null references orgs (id) on delete cascade,
  user_agent text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_end on sessions (expires_at);

create table magic_links (
  token_hash bytea primary key,
  email text not null,
  return_to text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  consumed_at timestamptz
);
create index magic_links_by_end on magic_links (expires_at);

-- Fixed windows: one row counts one subject (a digest) of one kind in one window.
create table rate_counts (
  kind text not null,
  subject text not null,
  window_start timestamptz not null,
  expires_at timestamptz not null,
  count integer not null,
  primary key (kind, subject, window_start)
);
create index rate_counts_by_end on rate_counts (expires_at);

-- Keys that sign access tokens.
create table signing_keys (
  -- RFC 7638 thumbprint of the public key.
  kid text primary key,
  public_jwk jsonb not null,
  -- AES-256-GCM under the key-encryption key; erased when the key retires.
  wrapped_private_key bytea,
  created_at timestamptz not null,
  retired_at timestamptz,
  -- Until when a retired key still verifies.
  verifies_until timestamptz,
  check ((retired_at is null) = (wrapped_private_key is not null)),
  check ((retired_at is null) = (verifies_until is null))
);
create unique index signing_keys_one_active on signing_keys ((true)) where retired_at is null;

-- The OAuth 2.1 authorization server.
create table oauth_clients (
  id text primary key,
  -- SHA-256; null for public clients.
  secret_hash bytea,
  auth_method text not null
    check (auth_method in ('none', 'client_secret_basic', 'client_secret_post')),
  name text not null,
  redirect_uris text[] not null,
  grant_types text[] not null,
  created_at timestamptz not null,
  -- When it first got a grant; clients that never did are cleaned away.
  granted_at timestamptz,
  check ((auth_method = 'none') = (secret_hash is null))
);
create index oauth_clients_by_age on oauth_clients (created_at) where granted_at is null;

create table consent_requests (
  id text primary key,
  session_id text not null references sessions (id) on delete cascade,
  csrf_hash bytea not null,
  client_id text not null references oauth_clients (id) on delete cascade,
  redirect_uri text not null,
  state text,
  scopes text[] not null,
  code_challenge text not null,
  server_id text not null,
  resource_url text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  decided_at timestamptz
);
create index consent_requests_by_session on consent_requests (session_id);
create index consent_requests_by_end on consent_requests (expires_at);

-- What one person allowed one client on one server; every token belongs to a grant and ends with it.
create table grants (
  id text primary key,
  client_id text not null references oauth_clients (id) on delete cascade,
  user_id text not null references users (id) on delete cascade,
  org_id text not null,
  server_id text not null,
  resource_url text not null,
  scopes text[] not null,
  created_at timestamptz not null,
  -- When its last token ends; moves with each refresh.
  expires_at timestamptz not null,
  revoked_at timestamptz,
  revoked_because text
);
create index grants_by_server on grants (server_id) where revoked_at is null;
create index grants_by_user on grants (user_id);
create index grants_by_client on grants (client_id);
create index grants_by_end on grants (expires_at);

create table authorization_codes (
  code_hash bytea primary key,
  grant_id text not null references grants (id) on delete cascade,
  redirect_uri text not null,
  code_challenge text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  consumed_at timestamptz
);
create index authorization_codes_by_grant on authorization_codes (grant_id);

create table refresh_tokens (
  token_hash bytea primary key,
  grant_id text not null references grants (id) on delete cascade,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  consumed_at timestamptz
);
create index refresh_tokens_by_grant on refresh_tokens (grant_id);
create index refresh_tokens_by_end on refresh_tokens (expires_at);

-- Ended grants in the order of their commits (writers take a lock before the number), so a cursor misses none.
create table revocations (
  position bigint generated always as identity primary key,
  grant_id text not null unique,
  revoked_at timestamptz not null
);
create index revocations_by_time on revocations (revoked_at);
