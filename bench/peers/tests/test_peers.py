"""Every peer is complete, and the table says what the figures say; no peer is started."""

import ast
import inspect
import os
import re
import sys
from pathlib import Path

import psutil
import pytest

from bench.peers.measuring import PEERS
from bench.peers.peer import FLOWS, HERE, Peer, RunFailedError, all_must_be
from bench.peers.plot import draw
from bench.peers.running import Processes
from bench.peers.stock_prefect import FLOW_NAMES, StockPrefect
from bench.peers.table import table
from bench.peers.workloads import WORKLOADS, marks
from tests.platforms import wait_for

ROOT = HERE.parents[1]
OURS = {
    "name": "this platform",
    "version": "1.0",
    "consists_of": "containers",
    "process_per_run": True,
    "measured_at": "2026-11-30 21:00+00:00",
    "samples": 20,
    "saturation_runs": 110,
    "reasons": {},
    "started_p50": 0.6,
    "started_p99": 0.9,
    "ended_p50": 0.7,
    "ended_p99": 1.0,
    "runs_per_minute": 118.0,
    "cpu_seconds_per_run": 0.88,
    "light_seconds": 4.0,
    "heavy_seconds": 12.0,
    "tick_p50": 0.3,
    "recovery_seconds": 95.0,
    "recovery": "goes on",
}
WARM = OURS | {
    "name": "Warm",
    "process_per_run": False,
    "ended_p50": 0.02,
    "runs_per_minute": 3000.0,
    "cpu_seconds_per_run": 0.9,
}
DEAF = {name: value for name, value in OURS.items() if name not in {"tick_p50", "recovery_seconds"}} | {
    "name": "Deaf",
    "ended_p50": 12.0,
    "runs_per_minute": 9.0,
    "recovery": "not in 5 minutes",
    "reasons": {"ticks": "it has no schedules"},
}
ABSENT = {"name": "Absent", "failed": "RuntimeError: it did not start"}


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.key)
def test_peer_does_all_that_is_asked_of_it_and_says_by_whose_advice(kind: type[Peer], tmp_path: Path) -> None:
    peer = kind(tmp_path)
    assert re.match(r"\d+\.\d+", peer.version)
    assert peer.name
    assert peer.consists_of
    assert peer.saturation_runs >= 10
    assert set(peer.not_measured) <= set(WORKLOADS)
    module = inspect.getdoc(inspect.getmodule(kind))
    assert module
    assert "pages" in module or kind.key == "ours"
    peer.stop()  # what was never started is ended without a word


@pytest.mark.parametrize("kind", [kind for kind in PEERS if kind.key != "ours"], ids=lambda kind: kind.key)
def test_first_requirement_is_the_peer_itself_of_one_version(kind: type[Peer]) -> None:
    first = (HERE / "requirements" / f"{kind.key}.txt").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"[a-z-]+(\[[a-z]+\])?==[\d.]+", first)


def test_stock_prefect_is_of_the_version_of_this_platform(tmp_path: Path) -> None:
    lock = (ROOT / "requirements" / "worker.txt").read_text(encoding="utf-8")
    assert f"\nprefect=={StockPrefect(tmp_path).version} " in lock


@pytest.mark.parametrize(
    "module", ["airflow_dags", "celery_tasks", "dagster_jobs", "dbos_workflows", "prefect_flows"]
)
def test_every_flow_is_there_for_each_peer(module: str) -> None:
    tree = ast.parse((FLOWS / f"{module}.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(FLOW_NAMES) <= texts | names


def test_table_marks_the_best_and_says_what_is_lost_and_what_was_not_measured() -> None:
    text = table({"ours": OURS, "warm": WARM, "deaf": DEAF, "absent": ABSENT})
    head, _, ours, warm, deaf, absent = text.splitlines()[:6]
    assert len({line.count("|") for line in (head, ours, warm, deaf, absent)}) == 1
    assert "| **0.02 s** |" in warm
    assert "| **3000** |" in warm
    assert "| **0.880** |" in ours
    assert "| 0.900 |" in warm
    assert "not in 5 minutes" in deaf
    assert "**not" not in deaf
    assert "[1] ticks of Deaf: it has no schedules" in text
    assert "[2] Absent was not measured: RuntimeError: it did not start" in text
    assert (
        "- Deaf: containers; 20 samples, 110 runs at saturation; measured at 2026-11-30 21:00+00:00." in text
    )
    lost = text.partition("Where this platform loses:")[2]
    assert lost.splitlines()[1:] == [
        "- ended p50: 0.70 s here; better: Warm 0.02 s.",
        "- runs per minute: 118 here; better: Warm 3000.",
    ]


def test_table_says_where_this_platform_has_no_figure() -> None:
    without = {name: value for name, value in OURS.items() if name != "recovery_seconds"}
    text = table({"ours": without | {"recovery": "not in 5 minutes"}, "warm": WARM})
    assert "- goes on after kill -9: this platform has no figure." in text


def test_figures_are_drawn_though_some_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "peers.png"
    draw({"ours": OURS, "warm": WARM, "absent": ABSENT}, file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_marks_are_read_as_flows_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MARKS", str(tmp_path))
    monkeypatch.syspath_prepend(str(FLOWS))
    from work import mark

    assert marks(tmp_path / "long") == []
    mark("long", 2)
    mark("long", 3)
    assert [step for step, _ in marks(tmp_path / "long")] == [2, 3]


def test_what_was_started_is_ended_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.peers.running.GRACE_SECONDS", 1)
    processes = Processes(tmp_path)
    sleeper = "import time; print('up', flush=True); time.sleep(613)"
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {sleeper}"
    leaving = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleeper!r}])"
    for name, program in {"sleeper": sleeper, "stubborn": stubborn, "leaving": leaving}.items():
        processes.start(name, [sys.executable, "-c", program], dict(os.environ))
    logs = [tmp_path / f"{name}.log" for name in ("sleeper", "stubborn", "leaving")]
    wait_for("start", lambda: all("up" in log.read_text(encoding="utf-8") for log in logs), 60)
    processes.restart_killed("sleeper")
    assert processes.cpu_seconds() > 0
    processes.stop()
    lines = {process: str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])}
    found = [process for process, line in lines.items() if "time.sleep(613)" in line]
    assert [process for process in found if process.status() != psutil.STATUS_ZOMBIE] == []


def test_runs_that_did_not_succeed_are_counted() -> None:
    all_must_be("success", ["success", "success"])
    with pytest.raises(RunFailedError, match=r"^failed \(2 of 3\)$"):
        all_must_be("success", ["failed", "success", "failed"])
    with pytest.raises(RunFailedError, match=r"^Crashed$"):
        all_must_be("Completed", ["Crashed"])
