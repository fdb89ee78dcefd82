#!/bin/bash
# Creates the schema and its users when the server starts for the first time. Run again, it sets the passwords of the
# users to what the secrets say now; MYSQL_PWD is root's present one, if that is not what its secret says.
#
# The mysql image may source this file instead of running it: the subshell keeps it from changing the image's script.
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
        # The services' users get their rights from `ws-ingest migrate`, table by table.
        for name in migrate writer reader binlog; do
            echo "create user if not exists keywire_$name@'%';"
            echo "alter user keywire_$name@'%' identified by $(literal $name);"
        done
        echo "grant all on keywire.* to keywire_migrate@'%' with grant option;"
        echo "grant binlog_admin, replication client on *.* to keywire_binlog@'%';"
        echo "alter user root@localhost identified by $(literal root);"
    } | mysql --protocol=socket --user=root --default-character-set=utf8mb4

    # See start-mysql.sh. On disk before anyone can connect: it must not come back.
    rm -f /var/lib/mysql/.unfinished
    sync /var/lib/mysql
)
