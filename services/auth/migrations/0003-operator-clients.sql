-- Clients that the operator registered: their names are vouched for, and they are never cleaned away.
alter table oauth_clients add column by_operator boolean not null default false;
create index oauth_clients_by_operator on oauth_clients (id) where by_operator;
