-- Private addresses that servers may reach, by the operator's word; org_id is empty for all organisations.
create table targets (
  host text not null,
  port integer not null check (port between 1 and 65535),
  org_id text not null,
  created_at timestamptz not null default now(),
  primary key (host, port, org_id)
);

-- Requests that were refused. Host and reason only: a path or a query may hold what nobody should keep.
create table refusals (
  id bigint generated always as identity primary key,
  server_id text not null,
  org_id text not null,
  user_id text not null,
  at timestamptz not null,
  reason text not null,
  host text not null,
  method text not null,
  message text not null
);
create index refusals_by_server on refusals (server_id, id desc);
create index refusals_by_time on refusals (at);

-- The highest epoch of each server whose statement was accepted: an older one is refused after a restart too.
create table epochs (
  server_id text primary key,
  epoch bigint not null
);
