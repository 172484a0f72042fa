"""A service that fails keeps no other from starting: Docker's part is played by a script."""

import json
from pathlib import Path

import pytest

from local.console import Console
from local.containers import compose_mode
from local.containers.compose_mode import ComposeMode
from local.errors import CommandError
from local.settings.platform import Settings

# `docker compose up` starts the worker after the deployer has failed, and ends at once on SIGTERM.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
  "compose up "*) trap 'exit 143' TERM
    until [ -e asked ]; do /bin/sleep 0.05; done
    while [ "$(/bin/cat asked)" -lt 3 ]; do /bin/sleep 0.05; done
    touch worker-started
    while :; do /bin/sleep 0.05; done;;
  "ps "*) echo one two;;
  "inspect "*) n=0; [ -e asked ] && n=$(/bin/cat asked); echo $((n + 1)) > asked
    if [ -e worker-started ]; then /bin/cat after; else /bin/cat before; fi;;
  "logs "*) echo "error: prefect.yaml:3: this is not valid YAML";;
esac
"""


def container(service: str, status: str, code: int = 0) -> dict[str, object]:
    return {
        "Id": service,
        "Name": service,
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "State": {"Status": status, "ExitCode": code, "StartedAt": "2026-01-01"},
        "NetworkSettings": {"Ports": {}},
        "HostConfig": {"RestartPolicy": {"Name": "no" if service == "deployer" else "unless-stopped"}},
    }


@pytest.fixture
def mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeMode:
    deployer = container("deployer", "exited", 1)
    for name, status in (("before", "created"), ("after", "running")):
        (tmp_path / name).write_text(json.dumps([deployer, container("worker", status)]))
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(compose_mode, "_POLL_SECONDS", 0.05)
    return ComposeMode(Settings({}), Console())


def start(mode: ComposeMode) -> None:
    mode._start([])  # pyright: ignore[reportPrivateUsage]


def test_a_deployer_that_failed_is_told_when_the_worker_was_started(
    mode: ComposeMode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match=r"^deployer: exited with code 1; the last lines of its log"):
        start(mode)
    assert (tmp_path / "worker-started").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "error: prefect.yaml:3: this is not valid YAML"
    assert any("worker" in line and "running" in line for line in lines)


def test_what_never_starts_is_not_waited_for_longer_than_a_minute(
    mode: ComposeMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_mode, "_OTHERS_SECONDS", 0.2)
    (tmp_path / "after").write_text((tmp_path / "before").read_text())
    with pytest.raises(CommandError, match=r"^deployer: exited with code 1"):
        start(mode)
