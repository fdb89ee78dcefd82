#!/bin/bash
# Makes the missing passwords, and replaces those that the arguments name. Then create-users.sh sets them in the server.
set -euo pipefail
cd "${SECRETS_DIR:-/secrets}"

password() { # NAME UID: the user can read it, and so can the group of mysqld, which sets it in the server
    [ -s "$1" ] && return
    # Renamed when complete, so that a file is never incomplete. It has no newline and no character that needs quoting.
    (umask 0227 && head -c 33 /dev/urandom | base64 -w 0 | tr '+/' '-_' >".$1.new")
    chown "$2:999" ".$1.new"
    mv -f ".$1.new" "$1"
    echo "made a password: $1"
}

rm -f .*.new
for name; do rm "$name"; done
password root 999
password writer 10001
password reader 10002
password migrate 10003
password binlog 10004
