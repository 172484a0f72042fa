"""What a restore makes of a backup before, and while, it replaces anything."""

import base64
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from local.backup.archive import write_archive
from local.backup.backups import Backups, prefect_version
from local.backup.databases import SqliteDatabase
from local.backup.restore import opened
from local.console import Console
from local.errors import CommandError
from local.settings.platform import ROOT
from tests.platforms import copy_checkout, free_port

FERNET = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER_FERNET = base64.urlsafe_b64encode(bytes(32)).decode()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An emptied machine: a checkout without settings, and a shell that has none either."""
    for name in ("PREFECT_PORT", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    checkout = tmp_path / "checkout"
    (checkout / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "requirements" / "server.txt", checkout / "requirements")
    return checkout


def archive(
    checkout: Path, settings: str | None = None, key: bytes = FERNET.encode(), prefect: str = ""
) -> Path:
    """Write a backup of local processes, with a database that is none."""
    parts = checkout.parent / "parts"
    parts.mkdir()
    (parts / "database").write_bytes(b"SQLite format 3, not really")
    (parts / "encryption-key").write_bytes(key)
    if settings is not None:
        (parts / "settings.env").write_text(settings)
    target = checkout.parent / "one of many.tar"
    write_archive(target, parts, "sqlite", prefect or prefect_version(ROOT), "2026-01-02T03:04:05+00:00")
    return target


def refusal(checkout: Path, source: Path, kind: str = "sqlite") -> str:
    """Return the one sentence by which a backup is refused."""
    with pytest.raises(CommandError) as refused, opened(source, Console(), checkout) as backup:
        backup.check(kind)
    assert str(refused.value).isprintable()
    assert not (checkout / ".env").exists()
    return str(refused.value)


def test_settings_of_the_backup_are_those_that_count_where_there_are_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "PREFECT_PORT=9099\nPREFECT_API_AUTH_STRING='me:it is $ecret'\nYEEDU_MOCK_PORT=9100\n"
    monkeypatch.setenv("YEEDU_MOCK_PORT", "9200")
    with opened(archive(checkout, text), Console(), checkout) as backup:
        backup.check("sqlite")
        assert not (checkout / ".env").exists(), "nothing is touched before it is wanted"
        assert (backup.settings.prefect_port, backup.settings.mock_port) == (9099, 9200)
        assert backup.settings.auth_string() == "me:it is $ecret"
        with backup.settings_in_place(Console()):
            assert (checkout / ".env").read_text() == text
    assert (checkout / ".env").read_text() == text
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600


def test_settings_of_today_count_and_stay(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / ".env").write_text("PREFECT_PORT=9300\n")
    with (
        opened(
            archive(checkout, "PREFECT_PORT=9099\nCOMPOSE_FILE=evil.yaml\n"), Console(), checkout
        ) as backup,
        backup.settings_in_place(Console()),
    ):
        assert backup.settings.prefect_port == 9300
    assert (checkout / ".env").read_text() == "PREFECT_PORT=9300\n"
    assert ".env differs from the backup's, and is kept" in capsys.readouterr().out


def test_settings_go_again_when_what_they_are_for_fails(checkout: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        opened(archive(checkout, "PREFECT_PORT=9099\n"), Console(), checkout) as backup,
        backup.settings_in_place(Console()),
    ):
        raise KeyboardInterrupt
    assert [path.name for path in checkout.iterdir()] == ["requirements"]


@pytest.mark.parametrize(
    "line",
    [
        "COMPOSE_FILE=evil.yaml",
        "export COMPOSE_FILE=evil.yaml",
        "  COMPOSE_FILE : evil.yaml",
        "COMPOSE_PATH_SEPARATOR=,",
        "COMPOSE_ENV_FILES=evil.env",
        "DOCKER_HOST=tcp://evil",
        "DOCKER_CONFIG=/tmp/evil",
        "BUILDX_CONFIG=/tmp/evil",
        "BUILDKIT_HOST=tcp://evil",
    ],
)
def test_settings_that_decide_what_else_runs_here_are_not_taken_unseen(checkout: Path, line: str) -> None:
    source = archive(checkout, f"PREFECT_PORT=9099\n{line}\n")
    message = refusal(checkout, source)
    assert "which decides what runs on this machine" in message
    assert "evil" not in message
    command = message[message.index("`") + 1 : message.rindex("`")]
    assert line in subprocess.check_output(shlex.split(command), text=True)


def test_a_name_for_the_platform_and_its_further_services_are_taken(checkout: Path) -> None:
    text = "COMPOSE_PROJECT_NAME=production\nCOMPOSE_PROFILES=image-worker\n"
    with opened(archive(checkout, text), Console(), checkout) as backup:
        backup.check("sqlite")
        assert backup.settings.get("COMPOSE_PROJECT_NAME") == "production"


@pytest.mark.parametrize("line", ["!hunter2", "YEEDU_PASSWORD='hunter2", "YEEDU_PASSWORD=${hunter2"])
def test_settings_that_cannot_be_read_are_told_by_their_line(checkout: Path, line: str) -> None:
    source = archive(checkout, f"# mine\n{line}\n")
    message = refusal(checkout, source)
    assert message.startswith(f"{source}: settings.env, line 2: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("key", [b"", b"not-a-key", b"\xff" * 44, b"A" * 43, b"A" * 86, b"\x1b[2J"], ids=repr)
def test_a_key_that_is_none_is_refused(checkout: Path, key: bytes) -> None:
    source = archive(checkout, key=key)
    assert refusal(checkout, source) == f"{source}: its key is not a Fernet key; use another backup"


def test_another_form_or_a_newer_prefect_is_refused(checkout: Path) -> None:
    source = archive(checkout)
    assert "is a backup of local processes; this platform runs as containers" in refusal(
        checkout, source, "postgres"
    )
    shutil.rmtree(checkout.parent / "parts")
    source.unlink()
    assert "is of Prefect 99.0.0, newer than" in refusal(checkout, archive(checkout, prefect="99.0.0"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            f"PREFECT_SERVER_ENCRYPTION_KEY={OTHER_FERNET}",
            "with another key than PREFECT_SERVER_ENCRYPTION_KEY",
        ),
        (
            "YEEDU_PASSWORD_FILE=/nowhere/password",
            "YEEDU_PASSWORD_FILE=/nowhere/password: there is no such file",
        ),
        ("CA_CERT_FILE=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("CONFIG_DIR=/nowhere/team", "CONFIG_DIR=/nowhere/team: there is no such folder"),
        ("PREFECT_API_URL=https://prefect.example/api", "restore the backup there"),
        ("PREFECT_API_AUTH_STRING_FILE=/nowhere/login", "PREFECT_API_AUTH_STRING_FILE=/nowhere/login"),
    ],
)
def test_settings_that_do_not_fit_here_are_refused_before_anything_starts(
    checkout: Path, settings: str, said: str
) -> None:
    message = refusal(checkout, archive(checkout, settings))
    assert said in message
    assert FERNET not in message
    assert OTHER_FERNET not in message


def test_key_of_the_settings_may_be_the_backups_own(checkout: Path) -> None:
    source = archive(checkout, f"PREFECT_SERVER_ENCRYPTION_KEY={FERNET}")
    with opened(source, Console(), checkout) as backup:
        backup.check("sqlite")


def test_command_refuses_with_one_sentence_and_no_traceback(checkout: Path) -> None:
    source = archive(checkout, key=b"not-a-key")
    done = subprocess.run(
        [sys.executable, "-m", "local", "restore", str(source)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"make restore: {source}: its key is not a Fernet key; use another backup\n"


@pytest.fixture(scope="module")
def emptied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkout, without settings and data."""
    folder = tmp_path_factory.mktemp("emptied") / "checkout"
    copy_checkout(folder)
    return folder


def restore(emptied: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Type the command where no Docker engine answers."""
    return subprocess.run(
        [sys.executable, "-m", "local", "restore", str(source)],
        cwd=emptied,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_port_of_the_settings_that_is_taken_stops_a_restore_before_it_begins(
    checkout: Path, emptied: Path
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = restore(emptied, archive(checkout, f"PREFECT_PORT={port}\n"))
    assert done.returncode == 1
    assert f"make restore: port {port} is already in use by" in done.stderr
    assert "nothing was started" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (emptied / ".env").exists()
    assert not (emptied / ".local" / "secrets").exists()


def test_dump_that_is_none_takes_the_settings_away_again(checkout: Path, emptied: Path) -> None:
    settings = f"PREFECT_PORT={free_port()}\nYEEDU_MOCK_PORT={free_port()}\n"
    done = restore(emptied, archive(checkout, settings))
    assert done.returncode == 1
    assert "its dump is not a dump of Prefect's database (file is not a database)" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".env removed again" in done.stdout
    assert not (emptied / ".env").exists()
    assert [path.name for path in (emptied / ".local" / "server").iterdir()] == []


def database(file: Path, flow_run: str) -> None:
    """Make what a restore needs to see in a database to take it for Prefect's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version TEXT)")
        columns = "id, auto_scheduled, state_type, state_name, run_count, expected_start_time"
        connection.execute(f"CREATE TABLE flow_run ({columns})")
        for limits in ("concurrency_limit", "concurrency_limit_v2"):
            connection.execute(f"CREATE TABLE {limits} (active_slots)")
        connection.execute("INSERT INTO flow_run (id) VALUES (?)", (flow_run,))
        connection.commit()


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("INSERT INTO flow_run (id) VALUES ('late')")
connection.commit()
os._exit(1)
"""


def runs(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM flow_run")]


@pytest.mark.parametrize("fails", ["", "load", "stop", "key"])
def test_data_and_key_are_replaced_both_or_not_at_all(checkout: Path, fails: str) -> None:
    used, dump, key = checkout / "server" / "prefect.db", checkout / "dump", checkout / "key"
    database(used, "today's")
    database(dump, "the backup's")
    key.write_text("today's")

    def step(name: str) -> None:
        if name == fails:
            raise CommandError(f"{name} failed")

    def write_key(value: str) -> None:
        step("key")
        key.write_text(value)

    if fails == "load":
        dump.write_bytes(dump.read_bytes()[:5000])
    backups = Backups(SqliteDatabase(used), key.read_text, write_key, Console(), checkout)
    if fails:
        with pytest.raises(CommandError) as failure:
            backups.restore(dump, "the backup's", lambda: step("stop"))
        assert ("`make up` starts" in str(failure.value)) == (fails != "load"), "it was stopped"
    else:
        backups.restore(dump, "the backup's", lambda: step("stop"))
    expected = "today's" if fails else "the backup's"
    assert (runs(used), key.read_text()) == ([expected], expected)
    assert [path.name for path in used.parent.iterdir()] == ["prefect.db"]


def test_what_was_not_yet_written_to_the_database_is_not_written_into_the_restored_one(
    checkout: Path,
) -> None:
    used, dump = checkout / "server" / "prefect.db", checkout / "dump"
    database(used, "today's")
    database(dump, "the backup's")
    subprocess.run([sys.executable, "-c", KILLED, str(used)], check=False)
    assert used.with_name("prefect.db-wal").exists()
    backups = Backups(SqliteDatabase(used), lambda: "", lambda key: None, Console(), checkout)
    backups.restore(dump, "", lambda: None)
    assert runs(used) == ["the backup's"]


def test_what_a_killed_restore_left_is_not_taken_for_the_next_ones(checkout: Path) -> None:
    used, dump = checkout / "server" / "prefect.db", checkout / "dump"
    left = used.with_name("prefect_restored.db")
    for file in (used, dump, left):
        database(file, file.name)
    subprocess.run([sys.executable, "-c", KILLED, str(left)], check=False)
    assert left.with_name("prefect_restored.db-wal").exists()
    backups = Backups(SqliteDatabase(used), lambda: "", lambda key: None, Console(), checkout)
    backups.restore(dump, "", lambda: None)
    assert runs(used) == ["dump"]
    assert [path.name for path in used.parent.iterdir()] == ["prefect.db"]
