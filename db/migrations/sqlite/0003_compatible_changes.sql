-- The log of changes: the keys that each batch wrote. A batch and its rows here are one transaction.
create table changes (
    lane integer not null,
    seq  integer not null, -- the batch of the lane
    part integer not null, -- the keys of a batch may take several rows
    at   integer not null, -- microseconds UTC: when the batch was written
    ks   blob    not null, -- the keys, each after its length: two bytes, the higher one first
    primary key (lane, seq, part)
) without rowid;
-- One row: what readers and writers must know of the whole store.
create table store (
    one       integer not null primary key check (one = 0),
    id        integer not null, -- random; a restored store gets another one
    retention integer null, -- seconds that changes are kept; 0 = not logged; null = no writer has told yet
    floor     integer not null -- microseconds UTC: changes up to then may be removed
);
insert into store (one, id, retention, floor) values (0, random() & 0x7fffffffffffffff, null, 0);
-- Whether a lane logs its changes. Programs before this migration do not.
alter table writers add column logged integer not null default 0;
-- The last rev that the lane reserved, microseconds UTC.
alter table writers add column rev integer not null default 0;
-- Programs before this migration leave `rev` as it is.
create trigger writers_rev after update of seq on writers when new.rev = old.rev begin
    update writers
    set rev = max((select rev from clock where id = 0), cast(unixepoch('subsec') * 1000 as integer) * 1000)
    where id = new.id;
end;
