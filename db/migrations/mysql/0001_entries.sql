-- Keys are bytes: every text collation of MySQL or MariaDB merges keys that differ.
create table entries (
    k          varbinary(512)  not null primary key,
    v          mediumblob      not null,
    rev        bigint unsigned not null, -- grows with every committed write of the key
    born       bigint unsigned not null, -- the rev that created the entry
    expires_at bigint unsigned null      -- microseconds UTC; live = null or in the future
) engine = innodb;

-- One row per lane: the fence that tells a retry whether the attempt before it was committed.
create table writers (
    id  bigint unsigned not null primary key,
    seq bigint unsigned not null, -- the last batch this lane committed
    rev bigint unsigned not null  -- the last rev this lane reserved, microseconds UTC
) engine = innodb;
