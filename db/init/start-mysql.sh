#!/bin/bash
# Starts mysqld. A first start that a crash or an error interrupted is repeated from the beginning: it leaves a data directory
# that looks initialised and is not.
set -euo pipefail
data=/var/lib/mysql

# The mark exists from before the first file until create-users.sh ends. Until then no client can connect, so no data is lost.
unfinished=$data/.unfinished
if [ -e "$unfinished" ]; then
    echo "the first start was interrupted: beginning again"
    find "$data" -mindepth 1 ! -path "$unfinished" -delete
elif [ -z "$(ls -A "$data")" ]; then
    touch "$unfinished"
    sync "$data"
fi
exec docker-entrypoint.sh "$@"
