-- Where the sweeper looks: written by sets that expire and by deletes. A hint may be wrong, never missing.
create table expiries (
    at integer not null, -- microseconds UTC: when the key expires, or the rev of its deletion
    k  blob    not null,
    primary key (at, k)
) without rowid;
