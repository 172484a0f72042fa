"""What `make up`, `make status` and `make down` do with local processes: small real ones in their place."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.console import Console
from local.processes import process_mode, startup
from local.processes.process_mode import ProcessMode
from local.processes.service import Service
from local.processes.supervisor import Supervisor
from local.settings.platform import Settings
from local.tests.serving import giving, serving
from tests.platforms import free_port

SETTINGS = {"WAREHOUSE_URL": "postgresql://me@db/mine"}


@pytest.fixture
def mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessMode]:
    """The local form, with nothing to install and to prepare, and six services that come up at once."""
    own = {name: serving(name) for name in ("rescue", "yeedu-watch", "worker")}
    for module in (process_mode, startup):
        monkeypatch.setattr(module, "STATE", tmp_path)
        for name, service in own.items():
            monkeypatch.setattr(module, name.replace("-", "_"), giving(service))
        monkeypatch.setattr(module, "deployer", giving(Service("deployer", ["true"], {})))
    monkeypatch.setattr(process_mode, "install", giving(None))
    monkeypatch.setattr(process_mode, "report_first_run", giving(0))
    monkeypatch.setattr(process_mode, "ignore_interrupts", giving(None))
    mode = ProcessMode(
        Settings({**SETTINGS, "PREFECT_PORT": str(free_port())}), Console()
    )  # nothing answers there
    monkeypatch.setattr(mode, "_first_services", giving([serving("yeedu-mock"), serving("server")]))
    monkeypatch.setattr(mode, "_prepare", giving("file:///checkout"))
    yield mode
    mode.down()
    assert not mode.exists()


def names(folder: Path) -> set[str]:
    supervisor = Supervisor(folder)
    return {record.name for record in supervisor.records() if supervisor.find(record.name)}


def test_up_starts_everything_and_down_ends_it(mode: ProcessMode, tmp_path: Path) -> None:
    assert mode.up() == 0
    assert names(tmp_path) == {"yeedu-mock", "server", "rescue", "yeedu-watch", "worker"}
    assert mode.is_up()
    mode.down()
    assert not mode.exists()
    assert not (tmp_path / "supervisor.sock").exists()


def test_interrupted_up_ends_what_it_started_and_leaves_what_ran(
    mode: ProcessMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(process_mode, "report_first_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mode.up()
    assert names(tmp_path) == set()
    assert not (tmp_path / "supervisor.sock").exists()
    monkeypatch.setattr(process_mode, "report_first_run", giving(0))
    mode.up()
    monkeypatch.setattr(process_mode, "report_first_run", interrupt)
    changed = ProcessMode(Settings(SETTINGS), Console())
    for name in ("_first_services", "_prepare"):
        monkeypatch.setattr(changed, name, getattr(mode, name))
    monkeypatch.setattr(startup, "worker", giving(serving("worker")))  # with another port
    with pytest.raises(KeyboardInterrupt):
        changed.up()
    assert names(tmp_path) == {"yeedu-mock", "server", "rescue", "yeedu-watch"}


def test_status_says_of_a_service_that_dies_each_time_that_it_was_given_up(
    mode: ProcessMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mode.up()
    impatient = Supervisor(tmp_path, retries=0)
    impatient.stop("worker")
    impatient.start("worker", [sys.executable, "-c", "exit(3)"], {"PATH": os.environ["PATH"]}, tmp_path)
    deadline = time.monotonic() + 60
    while "given up" not in impatient.trouble("worker"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    capsys.readouterr()
    assert mode.status() == 1
    lines = {line.split()[0]: line for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()}
    assert lines["worker"].startswith("worker       not running  given up: it ended ")
    assert "the last time by exit status 3 at 2" in lines["worker"]
    assert lines["worker"].endswith(f"its log says why: {tmp_path}/logs/worker.log; `make up` tries again")
    assert {name: line.split()[1] for name, line in lines.items() if name != "worker"} == dict.fromkeys(
        ("server", "yeedu-mock", "rescue", "yeedu-watch"), "healthy"
    )
