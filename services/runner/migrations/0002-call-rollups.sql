-- What was counted of the calls of one tool of one version in one hour.
create table call_rollups (
  server_id text not null,
  org_id text not null,
  hour timestamptz not null,
  -- `(other)` where too many counters were open.
  tool text not null,
  version integer not null,
  calls bigint not null,
  tool_errors bigint not null,
  refused bigint not null,
  overdue bigint not null,
  cancelled bigint not null,
  failed bigint not null,
  bytes_in bigint not null,
  bytes_out bigint not null,
  -- Calls by the buckets of latency.ts.
  latency bigint[] not null,
  primary key (server_id, hour, tool, version)
) with (fillfactor = 70);

-- For forgetting old rows.
create index call_rollups_hour on call_rollups (hour);

-- The same by organisation and month, kept up with each flush: what a plan is measured by.
create table org_months (
  org_id text not null,
  month date not null,
  calls bigint not null,
  refused bigint not null,
  bytes_in bigint not null,
  bytes_out bigint not null,
  primary key (org_id, month)
) with (fillfactor = 70);

-- The last flush of each process: one that is repeated, because its answer was lost, adds nothing.
create table rollup_flushes (
  process_id uuid primary key,
  flush bigint not null,
  at timestamptz not null default now()
);
