#!/bin/sh
# Writes what migrate.py makes of an empty database, as SQL, to standard output. Runs once, as the user postgres,
# while the image is built.
set -eu
folder=$(mktemp -d)
PATH="/usr/lib/postgresql/17/bin:$PATH"
export PREFECT_HOME="$folder/prefect" PREFECT_SERVER_DATABASE_DRIVER=postgresql+asyncpg \
  PREFECT_SERVER_DATABASE_HOST=127.0.0.1 PREFECT_SERVER_DATABASE_PORT=5432 PREFECT_SERVER_DATABASE_NAME=prefect \
  PREFECT_SERVER_DATABASE_USER=prefect PREFECT_SERVER_DATABASE_PASSWORD=none
{
  initdb --pgdata="$folder/data" --username=prefect --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
  pg_ctl --pgdata="$folder/data" --wait --log="$folder/log" start \
    --options="-c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off"
  createdb --host=127.0.0.1 --username=prefect prefect
  python /opt/server/migrate.py --without-snapshot
  pg_dump --host=127.0.0.1 --username=prefect --inserts --no-owner --no-privileges --file="$folder/dump" prefect
  pg_ctl --pgdata="$folder/data" --mode=immediate stop
} >&2
grep -v '^[\]' "$folder/dump" # lines that begin with a backslash are only for psql
rm -r "$folder"
