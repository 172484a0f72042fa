"""A backup proves itself: on an emptied machine it is restored, settings and all, and works as before."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.backup.archive import read_archive
from tests.platforms import JSON, Api, ComposePlatform, LocalPlatform, Platform, copy_checkout, free_port

pytestmark = [pytest.mark.long_in_containers, pytest.mark.xdist_group("platform")]
LOGIN = "admin:of-the-backup"
PASSWORD = "of-the-backup"


def secret_block(platform: Platform, name: str, value: str | None = None) -> str:
    """Create a Secret block where a value is given; return what the server decrypts."""
    if value is not None:
        kind = platform.api.get("block_types/slug/secret")["id"]
        wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        schema = platform.api.post("block_schemas/filter", wanted)[0]["id"]
        document = {"name": name, "block_type_id": kind, "block_schema_id": schema, "data": {"value": value}}
        platform.api.post("block_documents/", document)
    path = f"block_types/slug/secret/block_documents/name/{name}?include_secrets=true"
    return platform.api.get(path)["data"]["value"]


def ticks(platform: Platform) -> Counter[tuple[str, str]]:
    """How many runs the scheduler made for each tick of each deployment."""
    runs: list[JSON] = platform.api.everything("flow_runs/filter", {"sort": "ID_DESC"})
    return Counter(
        (run["deployment_id"], run["expected_start_time"]) for run in runs if run["auto_scheduled"]
    )


def back_up(platform: Platform, settings: dict[str, str], file: Path) -> None:
    """Make a backup while ``.env`` says so; the platform itself was started with other values."""
    dotenv = platform.checkout / ".env"
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    try:
        assert str(file) in platform.must(sys.executable, "-m", "local", "backup", str(file))
    finally:
        dotenv.unlink()


@contextmanager
def emptied_machine(like: Platform, folder: Path) -> Iterator[Platform]:
    """A checkout without data and settings, and a shell without any; in the end its platform is destroyed."""
    copy_checkout(folder)
    machine = ComposePlatform(folder) if like.kind == "compose" else LocalPlatform(folder)
    for setting in ("PREFECT_PORT", "YEEDU_MOCK_PORT"):
        del machine.environment[setting]
    try:
        yield machine
    except BaseException:
        print(machine.diagnose())
        raise
    finally:
        destroyed = machine.command(sys.executable, "-m", "local", "destroy", environment={"YES": "1"})
        assert destroyed.returncode == 0, destroyed.stderr
    if isinstance(machine, ComposePlatform):
        assert not machine.leftovers()
    if isinstance(machine, LocalPlatform):
        assert machine.processes() == []
    assert not (folder / ".local").exists()


def database_password(platform: Platform) -> str:
    """Return the password that the platform has for its database."""
    if isinstance(platform, ComposePlatform):
        return platform.inside("postgres", "cat", "/run/platform/database/postgres-password")
    return (platform.checkout / ".local/secrets/database/postgres-password").read_text(encoding="utf-8")


def empty_folder(parent: Path) -> Path:
    (parent / "unpacked").mkdir()
    return parent / "unpacked"


def status_of(platform: Platform) -> str:
    return platform.must(sys.executable, "-m", "local", "status")


@pytest.mark.timeout(1800)
def test_emptied_machine_is_restored_with_the_settings_of_the_backup(
    platform: Platform, tmp_path: Path
) -> None:
    secret_block(platform, "backup-canary", "decrypted after all")
    before = platform.api.run("print-message", {"message": "before the backup"})
    deployments = platform.api.deployments()
    file = tmp_path / "backup of it.tar"
    settings = {
        "PREFECT_PORT": str(free_port()),
        "YEEDU_MOCK_PORT": str(free_port()),
        "PREFECT_API_AUTH_STRING": LOGIN,
        "POSTGRES_PASSWORD": PASSWORD,
        "COMPOSE_PROFILES": "backup",
        "CHECKOUT_UID": str(os.getuid()),
        "CHECKOUT_GID": str(os.getgid()),
    }
    back_up(platform, settings, file)
    assert b"decrypted after all" not in file.read_bytes()

    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused = platform.command(sys.executable, "-m", "local", "restore", str(cut))
    assert (refused.returncode, refused.stderr) == (
        1,
        f"make restore: {cut} is truncated, or not a backup of this platform\n",
    )
    assert secret_block(platform, "backup-canary") == "decrypted after all"

    with emptied_machine(platform, tmp_path / "emptied") as machine:
        machine.must(sys.executable, "-m", "local", "restore", str(file), timeout_seconds=700)
        url = f"http://localhost:{settings['PREFECT_PORT']}/api"
        assert Api(url).ask("POST", "flow_runs/count").status_code == 401
        machine.api = Api(url, LOGIN)
        assert database_password(machine) == PASSWORD
        assert secret_block(machine, "backup-canary") == "decrypted after all"
        assert machine.api.get(f"flow_runs/{before['id']}")["state_type"] == "COMPLETED"
        restored = machine.api.deployments()
        assert {name: one["id"] for name, one in restored.items()} == {
            name: one["id"] for name, one in deployments.items()
        }
        assert machine.api.run("run-yeedu-job")["state_type"] == "COMPLETED"
        assert {tick: count for tick, count in ticks(machine).items() if count > 1} == {}
        [made] = (machine.checkout / "backups").glob("scheduled-*.tar")
        read_archive(made, empty_folder(tmp_path))
        assert re.search(
            r"(?m)^backups +the newest is \d+ (s|min) old, of 1 in backups/$", status_of(machine)
        )
