#!/bin/sh
# Writes the schema that Prefect's migrations make of an empty database, with the revision that they end at, to
# standard output. Runs once, while the image is built, as the user postgres; needs Postgres and Prefect.
set -eu
folder=$(mktemp -d)
PATH="/usr/lib/postgresql/17/bin:$PATH"
export PREFECT_HOME="$folder/prefect"
export PREFECT_API_DATABASE_CONNECTION_URL='postgresql+asyncpg://prefect@127.0.0.1:5432/prefect'
{
  initdb --pgdata="$folder/data" --username=prefect --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
  pg_ctl --pgdata="$folder/data" --wait --log="$folder/log" start \
    --options="-c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off"
  createdb --host=127.0.0.1 --username=prefect prefect
  prefect server database upgrade --yes
} >&2
# Statements alone: what begins with a backslash is for psql.
pg_dump --host=127.0.0.1 --username=prefect --inserts --no-owner --no-privileges prefect | grep -v '^\\'
pg_ctl --pgdata="$folder/data" --mode=immediate stop >&2
rm -r "$folder"
