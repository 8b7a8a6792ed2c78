-- The newest statement of each server, and the artefacts that it names while it serves.
create table deployments (
  server_id text primary key,
  org_id text not null,
  epoch bigint not null,
  -- Exact signed bytes; never jsonb, never serialised again.
  statement bytea not null,
  signature bytea not null,
  key_id text not null,
  -- Null once stopped.
  spec bytea,
  module bytea,
  updated_at timestamptz not null default now(),
  check ((spec is null) = (module is null))
);

-- What tools logged and what happened to their sandboxes.
create table run_lines (
  seq bigint generated always as identity,
  server_id text not null,
  org_id text not null,
  at timestamptz not null,
  level text not null,
  tool text not null,
  message text not null,
  request_id text not null,
  primary key (server_id, seq)
);
