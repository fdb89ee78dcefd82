-- Where the sweeper looks: written by sets that expire and by deletes. A hint may be wrong, never missing.
create table expiries (
    at bigint unsigned not null, -- microseconds UTC: when the key expires, or the rev of its deletion
    k  varbinary(512)  not null,
    primary key (at, k)
) engine = innodb;
