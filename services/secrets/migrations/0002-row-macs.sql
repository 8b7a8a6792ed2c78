-- A row says nothing without the MAC that the service writes with it; an empty one is nobody's.
-- Rows that are there already get theirs in the same transaction (ledger.ts).
alter table servers add column mac bytea not null default '';
alter table servers alter column mac drop default;
alter table confirmations add column mac bytea not null default '';
alter table confirmations alter column mac drop default;
