-- The highest version of a value that was deleted: the next value of that server counts on from it, whatever its name.
alter table servers add column forgotten_version integer not null default 0;
