-- SHA-256 of the secret of the browser that asked for the link: only there is the way back followed.
alter table magic_links add column browser_hash bytea;
