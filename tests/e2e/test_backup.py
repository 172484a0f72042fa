"""A backup proves itself: everything is wiped, restored, and works as before."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.platforms import JSON, Platform

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("platform")]


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


@pytest.mark.timeout(600)
def test_wiped_platform_is_restored_whole(platform: Platform, tmp_path: Path) -> None:
    secret_block(platform, "backup-canary", "decrypted after all")
    before = platform.api.run("print-message", {"message": "before the backup"})
    deployments = platform.api.deployments()
    file = tmp_path / "backup.tar"
    printed = platform.must(sys.executable, "-m", "local", "backup", str(file))
    assert str(file) in printed
    assert b"decrypted after all" not in file.read_bytes()

    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused = platform.command(sys.executable, "-m", "local", "restore", str(cut))
    assert refused.returncode == 1
    assert "cut short" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert secret_block(platform, "backup-canary") == "decrypted after all"

    platform.must(sys.executable, "-m", "local", "clean")
    platform.must(sys.executable, "-m", "local", "restore", str(file), timeout_seconds=500)
    assert secret_block(platform, "backup-canary") == "decrypted after all"
    assert platform.api.get(f"flow_runs/{before['id']}")["state_type"] == "COMPLETED"
    restored = platform.api.deployments()
    assert {name: one["id"] for name, one in restored.items()} == {
        name: one["id"] for name, one in deployments.items()
    }
    assert platform.api.run("run-yeedu-job")["state_type"] == "COMPLETED"
    assert {tick: count for tick, count in ticks(platform).items() if count > 1} == {}
