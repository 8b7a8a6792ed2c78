-- Keys that seal secrets, themselves wrapped by the key-encryption key, which is never stored.
create table data_keys (
  version integer primary key,
  wrapped bytea not null,
  active boolean not null,
  created_by text not null,
  created_at timestamptz not null default now()
);
create unique index data_keys_one_active on data_keys (active) where active;

create table statement_keys (
  key_id text primary key,
  public_key bytea not null,
  wrapped bytea not null,
  created_at timestamptz not null default now()
);

-- Each server known here belongs to one organisation for ever; its newest statement decides what opens.
create table servers (
  server_id text primary key,
  org_id text not null,
  epoch bigint not null default 0,
  statement bytea,
  signature bytea,
  key_id text references statement_keys
);

create table confirmations (
  id text primary key,
  server_id text not null references servers,
  user_id text not null,
  spec_digest text not null,
  -- JSON text of what goes into the statement: resourceUrl, access, egress, credentials.
  contract text not null,
  created_at timestamptz not null default now(),
  -- Set once, when a statement was signed for it.
  version integer,
  module_digest text,
  epoch bigint
);

create table secrets (
  server_id text not null references servers,
  name text not null,
  -- JSON text of the destination, exactly as it was bound as associated data.
  destination text not null,
  sealed bytea not null,
  key_version integer not null references data_keys (version),
  value_version integer not null,
  last_four text not null,
  updated_at timestamptz not null default now(),
  updated_by text not null,
  primary key (server_id, name)
);
create index secrets_by_key on secrets (key_version);
