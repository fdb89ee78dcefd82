#!/bin/bash
# Deletes the oldest binary logs while their total size exceeds BINLOG_BYTES_MAX.
set -uo pipefail
if ! [[ $BINLOG_BYTES_MAX =~ ^[0-9]{1,18}$ ]]; then
    echo "KEYWIRE_BINLOG_BYTES_MAX: '$BINLOG_BYTES_MAX' is not a number of bytes" >&2
    exit 64
fi
trap 'exit 0' TERM INT

query() {
    MYSQL_PWD=$(</secrets/binlog) mysql --socket=/run/mysqld/mysqld.sock --user=keywire_binlog --connect-timeout=5 \
        --batch --skip-column-names --execute="$1"
}

# Prints the oldest log to keep, if older ones exist. The newest log is always kept.
first_to_keep() {
    awk -v max="$BINLOG_BYTES_MAX" '
        { name[NR] = $1; bytes[NR] = $2 }
        END {
            keep = NR; total = bytes[NR]
            while (keep > 1 && (total += bytes[keep - 1]) <= max) keep--
            if (keep > 1) print name[keep]
        }'
}

while :; do
    # If the server cannot be reached, the next round tries again.
    if keep=$(query 'show binary logs' | first_to_keep) && [ -n "$keep" ]; then
        query "purge binary logs to '$keep'" && echo "deleted the binary logs before $keep"
    fi
    # In the background, because bash handles signals only between commands.
    sleep 20 &
    wait $!
done
