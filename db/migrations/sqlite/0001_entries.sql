create table entries (
    k          blob    not null primary key,
    v          blob    not null,
    rev        integer not null, -- grows with every committed write of the key
    born       integer not null, -- the rev that created the entry
    expires_at integer null      -- microseconds UTC; live = null or in the future
) without rowid;

-- One row per lane: the fence that tells a retry whether the attempt before it was committed.
create table writers (
    id  integer not null primary key,
    seq integer not null -- the last batch this lane committed
);

-- One row for all processes on this file: the last rev reserved, microseconds UTC.
create table clock (
    id  integer not null primary key check (id = 0),
    rev integer not null
);
insert into clock (id, rev) values (0, 0);
