"""In which order services start, and what is told of one that does not: real processes in their place."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.console import Console
from local.errors import CommandError
from local.processes import startup
from local.processes.service import Service
from local.processes.startup import Startup
from local.processes.supervisor import Supervisor
from local.settings.platform import Settings
from local.tests.serving import giving, serving

NO_WAREHOUSE = {"WAREHOUSE_URL": "postgresql://me@db.example/analytics"}


def ending(code: int, says: str) -> Service:
    return Service("deployer", [sys.executable, "-c", f"print({says!r}); exit({code})"], {})


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, grace_seconds=5)
    yield supervisor
    for record in supervisor.records():
        supervisor.stop(record.name)


@pytest.fixture
def own(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Startup:
    """The order of the platform, with small services in it that all come up."""
    monkeypatch.setattr(startup, "STATE", tmp_path)
    for name in ("rescue", "yeedu-watch", "worker"):
        service = serving(name)
        monkeypatch.setattr(startup, name.replace("-", "_"), giving(service))
    monkeypatch.setattr(startup, "deployer", giving(ending(0, "all registered")))
    return Startup(supervisor, {"PATH": os.environ["PATH"]}, Settings(NO_WAREHOUSE), Console())


def alive(supervisor: Supervisor) -> set[str]:
    return {record.name for record in supervisor.records() if supervisor.find(record.name)}


def test_one_wrong_flow_file_leaves_no_service_out_and_is_told_last(
    own: Startup, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startup, "deployer", giving(ending(1, "error: flows/mine.py: no flow in it")))
    with pytest.raises(CommandError, match=r"^deployer: exited with code 1; the last lines .*deployer\.log"):
        own.start_all([serving("yeedu-mock"), serving("server")], "file:///checkout")
    assert alive(supervisor) == {"yeedu-mock", "server", "rescue", "yeedu-watch", "worker"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "error: flows/mine.py: no flow in it"
    assert sum("healthy" in line for line in lines) == 5


def test_a_worker_that_waits_for_the_pool_of_a_deployer_that_failed_is_told_too(
    own: Startup, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = serving("worker", "import time; print('waiting for the work pool', flush=True); time.sleep(60)")
    monkeypatch.setattr(startup, "worker", giving(waiting))
    monkeypatch.setattr(startup, "deployer", giving(ending(1, "prefect.yaml:3: this is not valid YAML")))
    monkeypatch.setattr(startup, "_UNDEPLOYED_SECONDS", 1.0)
    with pytest.raises(CommandError, match=r"^worker: does not answer after 1 s; .*; deployer: exited with"):
        own.start_all([serving("server")], "file:///checkout")
    assert alive(supervisor) == {"server", "rescue", "yeedu-watch", "worker"}


@pytest.mark.parametrize("name", ["yeedu-mock", "rescue", "yeedu-watch", "worker"])
def test_a_service_that_does_not_start_keeps_none_of_the_others_back(
    own: Startup, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    broken = serving(name, "exit('I cannot')")
    first = [serving("server"), broken if name == "yeedu-mock" else serving("yeedu-mock")]
    if name != "yeedu-mock":
        monkeypatch.setattr(startup, name.replace("-", "_"), giving(broken))
    with pytest.raises(CommandError, match=f"^{name}: ended; the last lines of its log are above"):
        own.start_all(first, "file:///checkout")
    assert alive(supervisor) >= {"server", "yeedu-mock", "rescue", "yeedu-watch", "worker"} - {name}
    assert "all registered" in supervisor.log("deployer").read_text()


def test_a_warehouse_that_cannot_be_made_keeps_none_of_the_others_back(
    own: Startup, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[str, list[Service]]:
        raise CommandError("warehouse: cannot be made: disk full")

    monkeypatch.setattr(own, "ensure_warehouse", refuse)
    with pytest.raises(CommandError, match=r"^warehouse: cannot be made: disk full$"):
        own.start_all([serving("server")], "file:///checkout")
    assert alive(supervisor) == {"server", "rescue", "yeedu-watch", "worker"}


def test_without_the_server_nothing_else_is_begun(own: Startup, supervisor: Supervisor) -> None:
    with pytest.raises(CommandError, match=r"^server: ended"):
        own.start_all([serving("server", "exit(2)")], "file:///checkout")
    assert [record.name for record in supervisor.records()] == ["server"]


def test_what_runs_and_did_not_change_is_left_running(own: Startup, supervisor: Supervisor) -> None:
    server = serving("server")
    own.start_all([server], "file:///checkout")
    before = {record.name: supervisor.find(record.name) for record in supervisor.records()}
    own.start_all([server], "file:///checkout")
    assert {record.name: supervisor.find(record.name) for record in supervisor.records()} == before
