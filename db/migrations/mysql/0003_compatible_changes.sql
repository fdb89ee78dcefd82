-- The log of changes: the keys that each batch wrote. A batch and its rows here are one transaction.
create table changes (
    lane bigint unsigned   not null,
    seq  bigint unsigned   not null, -- the batch of the lane
    part smallint unsigned not null, -- the keys of a batch may take several rows
    at   bigint unsigned   not null, -- microseconds UTC: when the batch was written
    ks   mediumblob        not null, -- the keys, each after its length: two bytes, the higher one first
    primary key (lane, seq, part)
) engine = innodb;
-- One row: what readers and writers must know of the whole store.
create table store (
    one       tinyint unsigned not null primary key, -- always 0
    id        bigint unsigned  not null, -- random; a restored store gets another one
    retention bigint unsigned  null, -- seconds that changes are kept; 0 = not logged; null = no writer has told yet
    floor     bigint unsigned  not null -- microseconds UTC: changes up to then may be removed
) engine = innodb;
insert ignore into store (one, id, retention, floor)
    values (0, cast(conv(left(sha2(concat(uuid(), rand()), 256), 15), 16, 10) as unsigned), null, 0);
-- Whether a lane logs its changes. Programs before this migration do not. The column may be there already, if a migration was stopped.
set @add_logged = if(
    exists(select 1 from information_schema.columns
        where table_schema = schema() and table_name = 'writers' and column_name = 'logged'),
    'do 0',
    'alter table writers add column logged tinyint unsigned not null default 0');
prepare add_logged from @add_logged;
execute add_logged;
deallocate prepare add_logged;
