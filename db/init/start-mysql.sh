#!/bin/bash
# Starts mysqld. A first start that was cut short, by a crash or an error, is begun anew: it leaves a data directory that
# counts as initialised and is not.
set -euo pipefail
data=/var/lib/mysql

# There from before the first file until create-users.sh is done. So long no client can connect: there is nothing to lose.
unfinished=$data/.unfinished
if [ -e "$unfinished" ]; then
    echo "the first start did not come to its end: beginning anew"
    find "$data" -mindepth 1 ! -path "$unfinished" -delete
elif [ -z "$(ls -A "$data")" ]; then
    touch "$unfinished"
    sync "$data"
fi
exec docker-entrypoint.sh "$@"
