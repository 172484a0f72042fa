"""Backups that nobody has to think of: made, counted, and never more than wanted deleted."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.backup import schedule
from local.backup.archive import read_archive
from local.backup.schedule import backup_lines, scheduled_backups
from local.settings.platform import ROOT, Settings
from tests.platforms import wait_for

STAMP = "%Y%m%dT%H%M%SZ.tar"
KEY = "the key"
DOTENV = "PREFECT_PORT=9099\n"
OLD, OF_THE_FUTURE = "scheduled-20260101T000000Z.tar", "scheduled-20990101T000000Z.tar"
BY_HAND = "yeedu-prefect-20260101T000000Z.tar"
SETTINGS = {"BACKUP_EVERY_SECONDS": "2", "BACKUP_KEEP": "2"}


def ago(form: str, age: timedelta) -> str:
    return f"{form}-{datetime.now(UTC) - age:{STAMP}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the backups, with nothing in it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    monkeypatch.setattr(schedule, "FOLDER", folder)
    return folder


@pytest.mark.parametrize(
    ("backups", "line"),
    [
        ([], "backups         none in backups/; `make backup` creates one"),
        (
            [("yeedu-prefect", timedelta(hours=3))],
            "backups         the newest is 3 h old, of 1 in backups/",
        ),
        (
            [
                ("yeedu-prefect", timedelta(days=40)),
                ("scheduled", timedelta(days=3)),
                ("scheduled", timedelta(days=4)),
            ],
            "backups         the newest is 3 d old, of 3 in backups/",
        ),
        (
            [("scheduled", timedelta(days=-400)), ("scheduled", timedelta(days=9))],
            "backups         the newest is 9 d old, of 1 in backups/",
        ),
    ],
)
def test_status_tells_the_age_of_the_newest_backup(
    folder: Path, backups: list[tuple[str, timedelta]], line: str
) -> None:
    for name in ("notes.tar", "yeedu-prefect-yesterday.tar"):
        (folder / name).touch()
    for form, age in backups:  # named now, not when tests were collected, which may be an hour ago
        (folder / ago(form, age)).touch()
    assert list(backup_lines(Settings({}))) == [line]


def test_no_backup_is_missed_where_another_server_has_the_data(folder: Path) -> None:
    settings = Settings({"PREFECT_API_URL": "https://prefect.example/api", "COMPOSE_PROFILES": "backup"})
    assert list(backup_lines(settings)) == []
    assert scheduled_backups(settings) == []


@pytest.mark.parametrize(
    ("profiles", "count"), [("", 0), ("image-worker", 0), ("backup", 1), ("image-worker,backup", 1)]
)
def test_they_are_off_until_they_are_asked_for(profiles: str, count: int) -> None:
    assert len(scheduled_backups(Settings({"COMPOSE_PROFILES": profiles}))) == count


def made(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("scheduled-*") if file.name != OF_THE_FUTURE)


def await_the_third(folder: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until backups were made three times; that of an older version goes with the first."""
    seen: set[str] = set()

    def look() -> bool:
        assert process.poll() is None, process.communicate()
        seen.update(made(folder))
        return len(seen - {OLD}) >= 3

    wait_for("third backup", look, 100, pause_seconds=0.1)
    wait_for("end of the older ones", lambda: len(made(folder)) == 2, 60, pause_seconds=0.1)


def check_what_is_kept(folder: Path, kind: str, parts: Path) -> None:
    assert len(made(folder)) in {2, 3}, "it may have ended between a backup and the end of an older one"
    parts.mkdir()
    manifest = read_archive(folder / made(folder)[0], parts)
    assert manifest.database == kind
    assert (parts / "encryption-key").read_text() == KEY
    assert (parts / "settings.env").read_text() == DOTENV
    assert all((folder / name).stat().st_mode & 0o777 == 0o600 for name in made(folder))
    assert (folder / BY_HAND).read_text() == "made by hand"
    assert (folder / OF_THE_FUTURE).exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of local processes, with settings, one old backup by schedule and one by hand."""
    checkout = tmp_path / "checkout"
    for name in ("local", "server", "requirements", "worker/src/yeedu_worker"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (checkout / ".env").write_text(DOTENV)
    (checkout / "backups").mkdir()
    (checkout / "backups" / OLD).write_text("an old one")
    (checkout / "backups" / BY_HAND).write_text("made by hand")
    (checkout / "backups" / OF_THE_FUTURE).write_text("made when a clock was wrong")
    return checkout


def test_local_processes_are_backed_up_and_the_oldest_goes(checkout: Path, tmp_path: Path) -> None:
    server = checkout / ".local" / "server"
    server.mkdir(parents=True)
    (checkout / ".local" / "secrets" / "server").mkdir(parents=True)
    (checkout / ".local" / "secrets" / "server" / "encryption-key").write_text(KEY)
    create = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE flow_run (id)')"
    subprocess.run([sys.executable, "-c", create, str(server / "prefect.db")], check=True)
    [service] = scheduled_backups(Settings({"COMPOSE_PROFILES": "backup", **SETTINGS}))
    assert service.environment["PYTHONPATH"] == str(ROOT)
    environment = {"PATH": os.environ["PATH"], **SETTINGS, "PYTHONPATH": str(checkout)}
    command = [sys.executable, *service.command[1:]]

    def is_well() -> bool:
        return not subprocess.run(
            [*command, "--check"], env=environment, cwd=tmp_path, check=False
        ).returncode

    assert not is_well(), "the newest is overdue"
    with subprocess.Popen(
        command,
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            await_the_third(checkout / "backups", process)
            assert is_well()
        finally:
            process.terminate()
    check_what_is_kept(checkout / "backups", "sqlite", tmp_path / "parts")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BACKUP_EVERY_SECONDS": "daily"}, "BACKUP_EVERY_SECONDS='daily' is not a time"),
        ({"BACKUP_KEEP": "0"}, "BACKUP_KEEP='0' is not a number: set it to 1 or more"),
    ],
)
def test_schedule_that_is_none_is_refused(settings: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.backup.schedule"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **SETTINGS, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (1, True)


@pytest.fixture
def network() -> Iterator[str]:
    """A network of Docker's with a Postgres that is called so, as the platform has one."""
    name = f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"
    subprocess.run(["docker", "network", "create", "--internal", name], check=True, capture_output=True)
    try:
        settings = ("POSTGRES_USER=prefect", "POSTGRES_DB=prefect", f"POSTGRES_PASSWORD={KEY}")
        variables = [argument for setting in settings for argument in ("--env", setting)]
        options = ["--detach", "--name", name, "--network", name, "--network-alias", "postgres", *variables]
        subprocess.run(["docker", "run", *options, "postgres:17"], check=True, capture_output=True)
        asked = ["docker", "exec", name, "pg_isready", "--quiet", "--host=127.0.0.1"]
        wait_for("Postgres", lambda: subprocess.run(asked, check=False).returncode == 0, 90)
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=False, capture_output=True)
        subprocess.run(["docker", "network", "rm", name], check=True, capture_output=True)


def in_container(
    checkout: Path, name: str, network: str, settings: dict[str, str], *arguments: str
) -> list[str]:
    """Return the command that runs server/backup as the service does, as the user who owns the checkout."""
    secrets = checkout.parent / "platform"
    for folder, file in (("database", "postgres-password"), ("server", "encryption-key")):
        (secrets / folder).mkdir(parents=True, exist_ok=True)
        (secrets / folder / file).write_text(KEY)
    mounts = (f"{checkout}:/checkout:ro", f"{checkout}/backups:/backups", f"{secrets}:/run/platform:ro")
    return [
        *("docker", "run", "--rm", "--init", "--name", name, "--network", network, "--read-only"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--cap-drop", "ALL", "--entrypoint", "bash"),
        *(argument for mount in mounts for argument in ("--volume", mount)),
        *(argument for one in settings.items() for argument in ("--env", "=".join(one))),
        *("postgres:17", "/checkout/server/backup", *arguments),
    ]


@pytest.mark.docker
def test_containers_are_backed_up_and_the_oldest_goes(checkout: Path, tmp_path: Path, network: str) -> None:
    (checkout / "backups" / ".making-left").mkdir()
    command = in_container(checkout, f"{network}-backup", network, SETTINGS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            await_the_third(checkout / "backups", process)
            inside = ["docker", "exec", f"{network}-backup", "bash", "/checkout/server/backup", "--check"]
            subprocess.run(inside, check=True)
        finally:
            subprocess.run(["docker", "rm", "--force", f"{network}-backup"], check=True, capture_output=True)
    check_what_is_kept(checkout / "backups", "postgres", tmp_path / "parts")
    assert not (checkout / "backups" / ".making-left").exists()
    assert (tmp_path / "parts" / "database").read_bytes()[:5] == b"PGDMP"


@pytest.mark.docker
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BACKUP_EVERY_SECONDS": "daily"}, "BACKUP_EVERY_SECONDS=daily is not a time"),
        ({"BACKUP_KEEP": "0"}, "BACKUP_KEEP=0 is not a number"),
    ],
)
def test_container_says_what_is_wrong(checkout: Path, settings: dict[str, str], said: str) -> None:
    name = f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"
    command = in_container(checkout, name, "none", {**SETTINGS, **settings})
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


@pytest.mark.docker
def test_container_says_who_may_not_write(checkout: Path) -> None:
    name = f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"
    command = in_container(checkout, name, "none", SETTINGS)
    command[command.index("--user") + 1] = "12345:12345"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "user 12345 may not read .env, or not write to backups/: set CHECKOUT_UID" in done.stderr
