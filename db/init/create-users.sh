#!/bin/bash
# Creates the schema and its users at the first start of the server. Run again, it sets the passwords of the users to those in
# the secrets. MYSQL_PWD is the current password of root, if it differs from the secret.
#
# The script runs in a subshell, because the mysql image may source this file instead of running it.
(
    set -euo pipefail

    literal() { # FILE: its contents as an SQL string
        local text
        text=$(<"/secrets/$1")
        text=${text//\\/\\\\}
        printf "'%s'" "${text//\'/\'\'}"
    }

    MYSQL_PWD=${MYSQL_PWD-$(</secrets/root)}
    export MYSQL_PWD
    {
        echo "create database if not exists keywire;"
        # `ws-ingest migrate` grants the users of the services their rights, table by table.
        for name in migrate writer reader binlog; do
            echo "create user if not exists keywire_$name@'%';"
            echo "alter user keywire_$name@'%' identified by $(literal $name);"
        done
        echo "grant all on keywire.* to keywire_migrate@'%' with grant option;"
        echo "grant binlog_admin, replication client on *.* to keywire_binlog@'%';"
        echo "alter user root@localhost identified by $(literal root);"
    } | mysql --protocol=socket --user=root --default-character-set=utf8mb4

    # See start-mysql.sh. Synced before a client can connect: after a crash the mark must not be there again.
    rm -f /var/lib/mysql/.unfinished
    sync /var/lib/mysql
)
