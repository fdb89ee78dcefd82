#!/bin/bash
# Makes the passwords: those that are missing, and those named as arguments (create-users.sh then tells the server).
set -euo pipefail
cd "${SECRETS_DIR:-/secrets}"

password() { # NAME UID: readable by that user, and by the group of mysqld, which has to set it
    [ -s "$1" ] && return
    # Renamed when complete: a file that is there is whole. No newline, no character that needs quoting.
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
