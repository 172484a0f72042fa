"""The supervisor, on real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.family import TOKEN_VARIABLE, from_ps, is_living, living_processes
from local.processes import Record, Supervisor, last_lines

ENVIRONMENT = {"PATH": os.environ["PATH"]}
SLEEPER = "import sys, time; print('ready', flush=True); time.sleep(60)"
# Starts a child in a session of its own, as Jupyter kernels and flow runs are, and tells its number.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="a process that lost its parent is found on Linux only"
)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, grace_seconds=5)
    yield supervisor
    for record in supervisor.records():
        supervisor.stop(record.name)
    for name in supervisor.started:
        until(lambda name=name: supervisor.exit_code(name) is not None)


def until(condition: Callable[[], object], timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def start(supervisor: Supervisor, program: str, name: str = "service") -> Record:
    """Start a Python program and wait for its first line."""
    record = supervisor.start(name, [sys.executable, "-c", program], ENVIRONMENT, supervisor.log(name).parent)
    until(lambda: supervisor.log(name).read_text().endswith("\n"))
    return record


def child_of(supervisor: Supervisor) -> int:
    return int(supervisor.log("service").read_text().split()[1])


def test_process_runs_until_stopped(supervisor: Supervisor) -> None:
    record = start(supervisor, SLEEPER)
    assert supervisor.find("service") == record
    assert supervisor.exit_code("service") is None
    assert os.getsid(record.pid) == record.pid
    assert supervisor.stop("service")
    assert not is_living(record.pid, record.started)
    assert supervisor.find("service") is None
    assert supervisor.records() == []


def test_stopping_twice_is_fine(supervisor: Supervisor) -> None:
    start(supervisor, SLEEPER)
    assert supervisor.stop("service")
    assert not supervisor.stop("service")


def test_another_command_finds_and_stops_what_this_one_started(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    record = start(supervisor, SLEEPER)
    later = Supervisor(tmp_path, grace_seconds=5)
    assert later.find("service") == record
    assert later.stop("service")
    assert not is_living(record.pid, record.started)


def test_child_in_a_session_of_its_own_is_stopped_too(supervisor: Supervisor) -> None:
    start(supervisor, PARENT)
    child = living_processes()[child_of(supervisor)]
    supervisor.stop("service")
    assert not is_living(child.pid, child.started)


@linux
def test_child_that_lost_its_parent_is_stopped_too(supervisor: Supervisor) -> None:
    record = start(supervisor, PARENT)
    child = living_processes()[child_of(supervisor)]
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not record.is_living)
    assert is_living(child.pid, child.started)
    assert supervisor.stop("service")
    assert not is_living(child.pid, child.started)


@linux
def test_process_is_found_when_its_starter_was_killed_before_noting_its_number(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    record = start(supervisor, SLEEPER)
    file = tmp_path / "processes" / "service.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": 0, "started": ""}))
    assert supervisor.stop("service")
    assert not is_living(record.pid, record.started)


def test_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, grace_seconds=0.3)
    record = start(supervisor, STUBBORN)
    supervisor.stop("service")
    assert not is_living(record.pid, record.started)
    assert supervisor.exit_code("service") == -signal.SIGKILL


def test_process_that_got_a_used_number_is_left_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    start(supervisor, SLEEPER)
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        file = tmp_path / "processes" / "other.json"
        record = json.loads((tmp_path / "processes" / "service.json").read_text())
        file.write_text(json.dumps({**record, "name": "other", "pid": other.pid, "token": "0" * 32}))
        assert supervisor.find("other") is None
        assert not supervisor.stop("other")
        assert other.poll() is None
        other.kill()


def test_process_of_the_same_program_that_was_not_started_here_is_left_alone(supervisor: Supervisor) -> None:
    start(supervisor, SLEEPER)
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        supervisor.stop("service")
        assert other.poll() is None
        other.kill()


def test_process_sees_only_the_environment_that_it_was_given(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PRIVATE_KEY", "hidden")
    start(supervisor, "import os; print(*sorted(os.environ), flush=True)")
    assert set(supervisor.log("service").read_text().split()) <= {"PATH", TOKEN_VARIABLE, "LC_CTYPE"}


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps")
def test_ps_tells_the_same_where_there_is_no_proc(supervisor: Supervisor) -> None:
    record = start(supervisor, PARENT)
    child = child_of(supervisor)
    first, second = from_ps(), from_ps()
    assert first[record.pid] == second[record.pid]
    assert (first[record.pid].session, first[child].session) == (record.pid, child)
    assert first[child].parent == record.pid


def test_log_of_the_run_before_is_kept(supervisor: Supervisor) -> None:
    start(supervisor, "print('first')")
    start(supervisor, "print('second')")
    assert supervisor.log("service").read_text() == "second\n"
    assert supervisor.log("service").with_suffix(".log.1").read_text() == "first\n"


def test_exit_code_of_a_one_shot_is_known(supervisor: Supervisor) -> None:
    start(supervisor, "import sys; print('no', flush=True); sys.exit(3)")
    until(lambda: supervisor.exit_code("service") is not None)
    assert supervisor.exit_code("service") == 3
    assert supervisor.find("service") is None


def test_records_are_in_the_order_of_starting(supervisor: Supervisor) -> None:
    for name in ("zebra", "ant", "middle"):
        start(supervisor, SLEEPER, name)
    assert [record.name for record in supervisor.records()] == ["zebra", "ant", "middle"]


def test_damaged_record_is_passed_over(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "service.json").write_text("{")
    assert supervisor.records() == []
    assert not supervisor.stop("service")


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert last_lines(log, 2) == "line 998\nline 999"
    assert last_lines(tmp_path / "none.log") == ""
