-- Each key that is there already is sealed anew in the same transaction (migration.ts).
comment on column data_keys.wrapped is 'Sealed with the word that rows are marked (key-seal.ts).';
comment on column statement_keys.wrapped is 'Sealed with the word that rows are marked (key-seal.ts).';
