-- What a person looks at before confirming; forgotten after 24 hours.
create table drafts (
  id text primary key,
  org_id text not null,
  created_by text not null,
  name text not null,
  tools integer not null,
  -- The exact bytes that are shown, and their digest.
  spec bytea not null,
  spec_digest text not null,
  notes jsonb not null,
  tags jsonb not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index drafts_by_org on drafts (org_id, created_at);
create index drafts_by_expiry on drafts (expires_at);

-- A deleted server stays as a tombstone: its slug is never given away again.
create table servers (
  id text primary key,
  org_id text not null,
  slug text not null unique,
  name text not null,
  state text not null check (state in ('building', 'live', 'paused', 'failed', 'deleting', 'deleted')),
  -- JSON text of the access rule, exactly as it was confirmed.
  access text not null,
  resource_url text not null,
  -- 0 while no version was ever live.
  live_version integer not null default 0,
  latest_build_id text not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index servers_by_org on servers (org_id, id);

-- What was confirmed, for ever as it was.
create table versions (
  server_id text not null references servers,
  version integer not null check (version > 0),
  name text not null,
  tools integer not null,
  spec bytea not null,
  spec_digest text not null,
  confirmation_id text not null unique,
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (server_id, version)
);
create index versions_by_digest on versions (server_id, spec_digest);

create function refuse_version_change() returns trigger language plpgsql as $$
begin
  raise exception 'a version is immutable';
end $$;
create trigger versions_are_immutable before update on versions
  for each row execute function refuse_version_change();

-- Compiled modules by what they are: a row is right or wrong by its digest alone.
create table modules (
  server_id text not null references servers,
  digest text not null,
  module bytea not null,
  primary key (server_id, digest)
);

create table builds (
  id text primary key,
  server_id text not null references servers,
  org_id text not null,
  version integer not null,
  state text not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  reason text not null default '',
  message text not null default '',
  -- From here on it cannot be cancelled: what it deploys may be answering calls.
  deploying boolean not null default false,
  cancel_requested boolean not null default false,
  -- Who works on it, until when; a worker that lost its lease writes nothing more.
  lease_owner text,
  lease_until timestamptz,
  claims integer not null default 0,
  -- When a job was last asked for: a build that waits long is asked for again, but not in every sweep.
  asked_at timestamptz not null default now(),
  last_seq integer not null default 0,
  created_by text not null,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  foreign key (server_id, version) references versions on delete cascade
);
create index builds_unfinished on builds (created_at) where state in ('queued', 'running');
create index builds_by_server on builds (server_id, created_at);

create table build_steps (
  build_id text not null references builds on delete cascade,
  step text not null check (step in ('resolve', 'scan', 'compile', 'try', 'sign', 'deploy')),
  state text not null check (state in ('running', 'succeeded', 'failed', 'cancelled')),
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (build_id, step)
);

create table build_events (
  build_id text not null references builds on delete cascade,
  -- 1 and up without gaps: taken from builds.last_seq in the transaction of the event.
  seq integer not null,
  step text not null default '',
  state text not null default '',
  elapsed_ms bigint not null,
  line text not null default '',
  at timestamptz not null default now(),
  primary key (build_id, seq)
);

-- The newest signed statement of each server: the feed of those that serve.
create table servings (
  server_id text primary key references servers,
  slug text not null unique,
  statement bytea not null,
  signature bytea not null,
  key_id text not null,
  epoch bigint not null,
  seq bigint not null unique
);
-- One row, locked to the end of each change: a reader that saw seq n has seen everything before it.
create table serving_feed (
  singleton boolean primary key default true check (singleton),
  last_seq bigint not null
);
insert into serving_feed (last_seq) values (0);

-- A signed stop and what is still to be done about it; goes on after a crash.
create table stops (
  server_id text not null references servers,
  epoch bigint not null,
  org_id text not null,
  reason text not null check (reason in ('paused', 'deleted')),
  statement bytea not null,
  signature bytea not null,
  key_id text not null,
  grants_ended_at timestamptz,
  runner_stopped_at timestamptz,
  secrets_deleted_at timestamptz,
  finished_at timestamptz,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  primary key (server_id, epoch)
);
create index stops_unfinished on stops (next_attempt_at) where finished_at is null;

-- First answers of creating RPCs, for 24 hours.
create table idempotency_keys (
  org_id text not null,
  key text not null,
  request_digest text not null,
  server_id text not null,
  build_id text not null,
  created_at timestamptz not null default now(),
  primary key (org_id, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
