"""The supervisor, the lock and stopping, on real processes; the same on every system."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from attach import stopping, supervisor
from attach.errors import AttachError
from attach.folder import CHECKOUT
from attach.paths import Paths
from attach.run_lock import held, holder, is_held
from attach.stopping import stop
from attach.supervisor import Supervisor

SLEEPER = "import time; print('ready é', flush=True); time.sleep(600)"
STUBBORN = """
import signal, time
for name in ("SIGTERM", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, os.getpid(), flush=True)
"""
# What `attach run` does once everything is prepared, with another command.
HOLDER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from attach.run_lock import held
from attach.supervisor import Supervisor, stop_on_signals
home, command = Path(sys.argv[2]), [sys.executable, "-c", sys.argv[3]]
log = home / "logs" / "worker.log"
with held(home / "lock", os.getpid()):
    supervisor = Supervisor(command, lambda: os.environ, home, log, home / "stop", 20)
    stop_on_signals(supervisor)
    supervisor.run()
"""


def until(condition: Callable[[], object], timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def log_of(home: Path) -> str:
    file = home / "logs" / "worker.log"
    return file.read_text(encoding="utf-8") if file.exists() else ""


@contextmanager
def supervised(home: Path, program: str, grace_seconds: float = 20) -> Iterator[Supervisor]:
    """Supervise a program in a thread, and stop it at the end."""
    one = Supervisor(
        [sys.executable, "-X", "utf8", "-c", program],
        lambda: os.environ,
        home,
        home / "logs" / "worker.log",
        home / "stop",
        grace_seconds,
    )
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
    finally:
        one.stop()
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def holding(home: Path, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the supervisor and its lock in another process."""
    command = [sys.executable, "-c", HOLDER, str(CHECKOUT / "worker"), str(home), program]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_output_is_kept_and_the_process_ends_when_asked(tmp_path: Path) -> None:
    with supervised(tmp_path, SLEEPER):
        until(lambda: "ready é" in log_of(tmp_path))
    assert "stopping the worker" in log_of(tmp_path)


def test_process_that_ends_by_itself_is_started_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    with supervised(tmp_path, "import sys; print('once'); sys.exit(3)"):
        until(lambda: log_of(tmp_path).count("once") >= 3)
    assert "the worker ended with code 3; it starts again" in log_of(tmp_path)


def test_program_that_is_missing_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    one = Supervisor(
        [str(tmp_path / "none")],
        lambda: os.environ,
        tmp_path,
        tmp_path / "logs" / "worker.log",
        tmp_path / "stop",
        20,
    )
    thread = threading.Thread(target=one.run)
    thread.start()
    until(lambda: log_of(tmp_path).count("starts again") >= 2)
    one.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_stop_request_ends_it_and_is_taken_away(tmp_path: Path) -> None:
    with supervised(tmp_path, SLEEPER):
        until(lambda: "ready" in log_of(tmp_path))
        (tmp_path / "stop").touch()
        until(lambda: not (tmp_path / "stop").exists())


def test_stop_request_of_an_earlier_day_hinders_nothing(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with supervised(tmp_path, SLEEPER):
        until(lambda: "ready" in log_of(tmp_path))


def test_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, STUBBORN, grace_seconds=0.2):
        until(lambda: "ready" in log_of(tmp_path))


def test_logs_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 1000)
    with supervised(tmp_path, "for n in range(2000): print('line', n)\nimport time; time.sleep(600)"):
        until(lambda: "line 1999" in log_of(tmp_path))
    files = sorted(file.name for file in (tmp_path / "logs").iterdir())
    assert files == ["worker.log", *(f"worker.log.{number}" for number in range(1, supervisor.LOG_FILES))]
    assert all(file.stat().st_size <= 1000 for file in (tmp_path / "logs").iterdir())


def test_lock_tells_who_runs_and_keeps_a_second_one_out(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    with holding(tmp_path, SLEEPER) as process:
        until(lambda: is_held(lock) and holder(lock) == process.pid)
        with pytest.raises(AttachError, match=f"runs as process {process.pid}"), held(lock, 1):
            pass
        process.kill()
        process.wait()
        until(lambda: not is_held(lock))  # what it was about to start has it until it is another program


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS tells no process that its parent is gone")
def test_process_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    with holding(tmp_path, "import os; print('number', os.getpid(), flush=True)\n" + SLEEPER) as process:
        until(lambda: "ready" in log_of(tmp_path))
        worker = psutil.Process(int(log_of(tmp_path).split()[1]))
        process.kill()
        until(lambda: not worker.is_running())


def test_what_a_process_started_ends_when_it_was_killed(tmp_path: Path) -> None:
    """As flow runs do whose worker is killed; the worker is started again."""
    with supervised(tmp_path, PARENT + SLEEPER):
        until(lambda: "child" in log_of(tmp_path))
        _, number, own = log_of(tmp_path).splitlines()[0].split()
        child = psutil.Process(int(number))
        psutil.Process(int(own)).kill()
        until(lambda: not child.is_running())


def test_what_a_process_started_ends_when_it_has_to_be_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, PARENT + STUBBORN, grace_seconds=0.2):
        until(lambda: "ready" in log_of(tmp_path))
        child = psutil.Process(int(log_of(tmp_path).split()[1]))
    until(lambda: not child.is_running())


def test_another_process_stops_the_running_one(tmp_path: Path) -> None:
    said: list[str] = []
    with holding(tmp_path, SLEEPER) as process:
        until(lambda: "ready" in log_of(tmp_path))
        stop(Paths(tmp_path), 20, said.append)
        assert process.wait(60) == 0
    assert said == [f"stopping process {process.pid}"]
    assert not (tmp_path / "stop").exists()


def test_one_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_SPARE_SECONDS", 0.5)
    program = f"""
import os, sys, time
sys.path.insert(0, {str(CHECKOUT / "worker")!r})
from pathlib import Path
from attach.run_lock import held
with held(Path({str(tmp_path / "lock")!r}), os.getpid()):
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        until(lambda: is_held(tmp_path / "lock") and holder(tmp_path / "lock") == process.pid)
        said: list[str] = []
        stop(Paths(tmp_path), 0, said.append)
        assert process.wait(60) != 0
    assert "ending it" in said[-1]


def test_nothing_is_ended_before_its_number_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has just taken the lock has yet to write it; 0 would be the caller's own process group."""
    numbers = iter([0, 0, 0])
    ended: list[int] = []
    monkeypatch.setattr(stopping, "holder", lambda _: next(numbers, 4711))
    monkeypatch.setattr(stopping, "is_held", lambda _: not ended)
    monkeypatch.setattr(stopping, "_end", ended.append)
    monkeypatch.setattr(stopping, "_SPARE_SECONDS", -1.0)
    stop(Paths(tmp_path), 0, [].append)
    assert ended == [4711]


def test_stopping_what_does_not_run_does_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    stop(Paths(tmp_path), 20, said.append)
    assert said == []
