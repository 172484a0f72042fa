"""What a dump may do to Postgres while it is loaded, on a real one."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.backup.databases import PostgresDatabase
from local.containers.engine import Project
from local.errors import CommandError
from local.settings.platform import Settings
from local.upgrade.copies import PostgresCopy
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker]

# Of Prefect's database what matters here: its extension, an index that needs it, and what a restore looks at.
SCHEMA = """
CREATE EXTENSION pg_trgm;
CREATE TABLE alembic_version (version_num text);
CREATE TABLE flow_run (id int PRIMARY KEY, name text, auto_scheduled bool, state_type text, state_name text,
                       run_count int, expected_start_time timestamptz);
CREATE TABLE concurrency_limit (active_slots json);
CREATE TABLE concurrency_limit_v2 (active_slots int);
CREATE INDEX by_name ON flow_run USING gin (name gin_trgm_ops);
COMMENT ON TABLE flow_run IS 'runs';
INSERT INTO flow_run VALUES (1, 'by hand', false, 'COMPLETED', 'Completed', 1, now());
"""
HOLD = (
    "TRUNCATE concurrency_limit, concurrency_limit_v2;"
    """INSERT INTO concurrency_limit VALUES ('["a task run"]'); INSERT INTO concurrency_limit_v2 VALUES (1)"""
)
SLOTS = "SELECT a.active_slots, b.active_slots FROM concurrency_limit AS a, concurrency_limit_v2 AS b"
STATE = "SELECT string_agg(id::text, ',' ORDER BY id) FROM flow_run"
MARK = "/tmp/a-program-ran"
INNOCENT = f"CREATE FUNCTION public.innocent() RETURNS int LANGUAGE sql AS $$SELECT 1 -- {'x' * 100}\n$$"
HOSTILE = f"COPY (SELECT 1) TO PROGRAM 'id > {MARK}'; -- "


class OneContainer(Project):
    """A compose project of which nothing but Postgres is there."""

    def __init__(self, container: str) -> None:
        super().__init__(Settings({}))
        self.container = container

    def _into(self, service: str, *, is_new: bool) -> list[str]:
        return ["docker", "exec", "--interactive", self.container]

    def sql(self, statement: str, database: str = "prefect") -> str:
        how = ("--username=prefect", f"--dbname={database}", "--no-align", "--tuples-only", "--quiet")
        return self.stream("postgres", "psql", *how, f"--command={statement}").decode().strip()

    def databases(self) -> set[str]:
        names = self.sql("SELECT datname FROM pg_database WHERE datname LIKE 'prefect%'")
        return set(names.split()) | set(
            self.sql("SELECT rolname FROM pg_roles WHERE rolname ~ 'load'").split()
        )


@pytest.fixture(scope="module")
def postgres() -> Iterator[OneContainer]:
    project = OneContainer(f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}")
    settings = ("POSTGRES_USER=prefect", "POSTGRES_DB=prefect", "POSTGRES_PASSWORD=not-asked-for-inside")
    variables = [argument for setting in settings for argument in ("--env", setting)]
    options = ["--detach", "--rm", "--name", project.container, "--network", "none", *variables]
    subprocess.run(["docker", "run", *options, "postgres:17"], check=True, capture_output=True)
    try:
        asked = ["docker", "exec", project.container, "pg_isready", "--quiet", "--host=127.0.0.1"]
        wait_for("Postgres", lambda: subprocess.run(asked, check=False).returncode == 0, 120)
        project.sql(SCHEMA)
        yield project
    finally:
        subprocess.run(["docker", "rm", "--force", project.container], check=True, capture_output=True)


@pytest.fixture
def database(postgres: OneContainer) -> Iterator[PostgresDatabase]:
    """The database with one run in it, and nothing beside it when the test is over."""
    yield PostgresDatabase(postgres)
    assert postgres.databases() == {"prefect"}
    assert postgres.sql(STATE) == "1"


def test_loaded_dump_takes_the_place_and_belongs_to_the_same_user(
    database: PostgresDatabase, postgres: OneContainer, tmp_path: Path
) -> None:
    dump = tmp_path / "dump"
    database.dump(dump)
    postgres.sql("INSERT INTO flow_run VALUES (2, 'after the backup')")
    database.load(dump)
    assert postgres.sql(STATE) == "1,2"
    database.switch()
    assert postgres.sql(STATE) == "1"
    database.switch_back()
    assert postgres.sql(STATE) == "1,2"
    database.switch()
    database.finish()
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.sql(owners) == "prefect"
    assert postgres.sql("SELECT extowner::regrole FROM pg_extension WHERE extname = 'pg_trgm'") == "prefect"
    assert (
        postgres.sql("SELECT datdba::regrole FROM pg_database WHERE datname = current_database()")
        == "prefect"
    )


def test_slots_are_free_in_what_is_restored_or_put_back(
    database: PostgresDatabase, postgres: OneContainer, tmp_path: Path
) -> None:
    postgres.sql(HOLD)
    assert postgres.sql(SLOTS) == '["a task run"]|1'
    dump, copy = tmp_path / "dump", PostgresCopy(postgres)
    database.dump(dump)
    copy.make()
    copy.put_back()
    assert postgres.sql(SLOTS) == "[]|0"
    postgres.sql(HOLD)
    database.load(dump)
    database.switch()
    database.finish()
    assert postgres.sql(SLOTS) == "[]|0"


def with_a_program(database: PostgresDatabase, postgres: OneContainer, dump: Path) -> None:
    """Write a dump in which a function's definition was replaced, in place, by the start of a program."""
    postgres.sql(INNOCENT)
    try:
        database.dump(dump)
    finally:
        postgres.sql("DROP FUNCTION innocent")
    content = dump.read_bytes()
    at = content.index(b"CREATE FUNCTION public.innocent")
    end = content.index(b"$$;", at) + len("$$;")
    dump.write_bytes(content[:at] + HOSTILE.ljust(end - at, "x").encode() + content[end:])


def test_dump_cannot_start_a_program(
    database: PostgresDatabase, postgres: OneContainer, tmp_path: Path
) -> None:
    dump = tmp_path / "dump"
    with_a_program(database, postgres, dump)
    with pytest.raises(CommandError, match=r"not a dump of Prefect's database .*program") as refused:
        database.load(dump)
    assert str(refused.value).isprintable()
    mark = ("sh", "-c", f"test ! -e {MARK} || cat {MARK}")
    assert postgres.stream("postgres", *mark) == b""
    postgres.sql("CREATE DATABASE control", "postgres")
    as_superuser = ("--username=prefect", "--dbname=control", "--no-owner")
    with dump.open("rb") as content:
        postgres.stream("postgres", "pg_restore", *as_superuser, content=content)
    postgres.sql("DROP DATABASE control", "postgres")
    assert b"uid=" in postgres.stream("postgres", *mark), "as the superuser it would have"
    postgres.stream("postgres", "rm", MARK)


@pytest.mark.parametrize(
    ("make", "drop"),
    [
        ("CREATE FUNCTION own() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION own"),
        ("CREATE RULE own AS ON DELETE TO flow_run DO INSTEAD NOTHING", "DROP RULE own ON flow_run"),
        ("CREATE VIEW own AS SELECT id FROM flow_run", "DROP VIEW own"),
        (
            "CREATE TRIGGER own BEFORE UPDATE ON flow_run FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "DROP TRIGGER own ON flow_run",
        ),
    ],
    ids=["function", "rule", "view", "trigger"],
)
def test_code_that_the_server_would_run_later_is_refused(
    database: PostgresDatabase, postgres: OneContainer, tmp_path: Path, make: str, drop: str
) -> None:
    dump = tmp_path / "dump"
    postgres.sql(make)
    try:
        database.dump(dump)
        with pytest.raises(CommandError, match="functions, triggers or rules of its own"):
            database.load(dump)
    finally:
        postgres.sql(drop)


def test_file_that_is_no_dump_leaves_nothing_behind(database: PostgresDatabase, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b"PGDMP, not really")
    with pytest.raises(CommandError, match="not a dump of Prefect's database"):
        database.load(dump)


def test_a_copy_that_a_killed_upgrade_still_makes_goes_too(
    postgres: OneContainer, database: PostgresDatabase
) -> None:
    """Postgres goes on with what a psql asked that was left alone, and shows no copy until it has ended."""
    asks = [
        "docker",
        "exec",
        "--interactive",
        postgres.container,
        "psql",
        "--username=prefect",
        "--dbname=postgres",
    ]
    making = "CREATE DATABASE prefect_before_upgrade TEMPLATE prefect STRATEGY FILE_COPY"
    active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATAB%'"
    with subprocess.Popen(
        [*asks, "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        # It keeps Postgres at the copy for as long as the test needs.
        holder.stdin.write("BEGIN;\nLOCK TABLE pg_database IN EXCLUSIVE MODE;\n\\echo held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        with subprocess.Popen([*asks, f"--command={making}"], stderr=subprocess.PIPE, text=True) as maker:
            wait_for("the copy", lambda: postgres.sql(active, "postgres") == "1", 60)
            PostgresCopy(postgres).end_makers()
            assert "terminating connection" in maker.communicate(timeout=60)[1]
        holder.stdin.write("COMMIT;\n")
        holder.stdin.close()
    PostgresCopy(postgres).discard()
    assert postgres.databases() == {"prefect"}
