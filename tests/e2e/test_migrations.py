"""Several migrations at once, and one that is killed on a first start: one whole schema in the end."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.platforms import ComposePlatform, copy_checkout, wait_for

pytestmark = [
    *(pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)),
    pytest.mark.xdist_group("platform"),
]
INVALID = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
REVISION = "SELECT version_num FROM alembic_version"


class Postgres(ComposePlatform):
    """A platform of which nothing but Postgres runs."""

    def ask(self, database: str, statement: str) -> str:
        """Return what a statement yields; an empty text when it fails."""
        psql = (
            "psql",
            "--username=prefect",
            f"--dbname={database}",
            "--no-align",
            "--tuples-only",
            "--quiet",
        )
        done = self.command("docker", "compose", "exec", "-T", "postgres", *psql, f"--command={statement}")
        return done.stdout.strip() if done.returncode == 0 else ""

    def migrate(self, database: str, name: str, *command: str) -> subprocess.Popen[str]:
        """Start a migration in a container of that name."""
        how = (
            "run",
            "--rm",
            "--no-deps",
            "--no-TTY",
            "--name",
            f"{self.environment['COMPOSE_PROJECT_NAME']}-{name}",
        )
        return subprocess.Popen(
            [
                "docker",
                "compose",
                *how,
                "--env",
                f"PREFECT_SERVER_DATABASE_NAME={database}",
                "migrate",
                *command,
            ],
            cwd=self.checkout,
            env={**self.environment, "IMAGE_POLICY": "never"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def migrate_thrice(self, database: str) -> list[str]:
        """Run three migrations at once, all of which have to succeed; return what they say."""
        three = [self.migrate(database, f"{database}-{number}") for number in range(3)]
        said = [process.communicate(timeout=300)[0] for process in three]
        assert [process.returncode for process in three] == [0, 0, 0], said
        return said


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    checkout = tmp_path_factory.mktemp("migrations") / "yeedu-prefect"
    copy_checkout(checkout)
    platform = Postgres(checkout)
    try:
        platform.must(
            "docker", "compose", "up", "--detach", "--build", "--wait", "postgres", timeout_seconds=500
        )
        yield platform
    finally:
        platform.remove()


def test_of_three_at_once_on_an_empty_database_one_makes_the_schema(postgres: Postgres) -> None:
    said = postgres.migrate_thrice("prefect")
    assert sum("an empty database; loaded the schema" in text for text in said) == 1, said
    assert sum("nothing to do" in text for text in said) == 2, said
    assert postgres.ask("prefect", INVALID) == ""
    assert postgres.ask("prefect", REVISION)


def test_a_first_start_that_is_killed_leaves_nothing_half_done(postgres: Postgres) -> None:
    postgres.ask("postgres", "CREATE DATABASE killed")
    killed = postgres.migrate("killed", "killed")
    name = f"{postgres.environment['COMPOSE_PROJECT_NAME']}-killed"
    wait_for("migration", lambda: postgres.command("docker", "kill", name).returncode == 0, 60, 0.05)
    killed.communicate(timeout=60)
    postgres.migrate_thrice("killed")
    assert postgres.ask("killed", REVISION) == postgres.ask("prefect", REVISION)


def test_what_an_older_release_left_half_built_is_recovered_by_one_of_three(postgres: Postgres) -> None:
    postgres.ask("postgres", "CREATE DATABASE older TEMPLATE prefect")
    postgres.ask("older", "COMMENT ON TABLE block_type IS 'Prefect 3.0'")
    # An index whose building ended badly, as that of a migration which was killed.
    postgres.ask("older", "CREATE TABLE left_half AS SELECT 1 AS id UNION ALL SELECT 1")
    postgres.ask("older", "CREATE UNIQUE INDEX CONCURRENTLY left_half_id ON left_half (id)")
    assert "left_half_id" in postgres.ask("older", INVALID)
    said = postgres.migrate_thrice("older")
    assert sum("; migrating" in text for text in said) == 1, said
    assert sum("nothing to do" in text for text in said) == 2, said
    assert any("left_half_id was left half built" in text for text in said), said
    assert postgres.ask("older", INVALID) == ""
