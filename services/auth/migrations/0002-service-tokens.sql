-- Keys of programs: each acts for one member in one organisation, and goes with the membership.
create table service_tokens (
  id text primary key,
  -- SHA-256 of the token; the token itself is nowhere.
  token_hash bytea not null unique,
  org_id text not null,
  user_id text not null,
  name text not null,
  scopes text[] not null check (cardinality(scopes) > 0),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  -- To the minute.
  last_used_at timestamptz,
  revoked_at timestamptz,
  foreign key (org_id, user_id) references members (org_id, user_id) on delete cascade
);
create index service_tokens_by_member on service_tokens (org_id, user_id);
create index service_tokens_by_end on service_tokens (expires_at);
