"""The supervisor, on real processes."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from local.errors import CommandError
from local.processes import supervisord
from local.processes.process_tree import TOKEN_VARIABLE, Process, from_ps, living_processes
from local.processes.supervisor import Supervisor, last_lines

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
def folder() -> Iterator[Path]:
    """A folder as awkward as a checkout's may be."""
    with TemporaryDirectory(prefix="yeedu ") as outer:
        folder = Path(outer) / "50% [off]; 'it' #1"
        folder.mkdir()
        yield folder


@pytest.fixture
def supervisor(folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder, grace_seconds=5, retries=1, start_seconds=1)
    yield supervisor
    for record in supervisor.records():
        supervisor.stop(record.name)
    assert not (folder / "supervisor.sock").exists()


def is_living(process: Process) -> bool:
    now = living_processes().get(process.pid)
    return now is not None and now.started == process.started  # its parent may be another one


def until(condition: Callable[[], object], timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def start(supervisor: Supervisor, program: str, name: str = "service", *, restarts: bool = True) -> Process:
    """Start a Python program and wait for its first line."""
    supervisor.start(
        name,
        [sys.executable, "-c", program],
        ENVIRONMENT,
        supervisor.log(name).parent / name,
        restarts=restarts,
    )
    log = supervisor.log(name)
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    return living_processes()[pid_of(supervisor, name)] if restarts else Process(0, "", 0, 0)


def pid_of(supervisor: Supervisor, name: str = "service") -> int:
    found = supervisor.find(name)
    return found.pid if found else 0


def child_of(supervisor: Supervisor) -> Process:
    until(lambda: {"child", "ready"} <= set(supervisor.log("service").read_text().split()))
    line = next(line for line in supervisor.log("service").read_text().splitlines() if "child" in line)
    return living_processes()[int(line.split()[1])]


def test_process_runs_until_stopped(supervisor: Supervisor) -> None:
    process = start(supervisor, SLEEPER)
    assert os.getpgid(process.pid) == process.pid
    assert os.getsid(process.pid) != os.getsid(0)
    assert supervisor.trouble("service") == ""
    assert supervisor.stop("service")
    assert not is_living(process)
    assert supervisor.find("service") is None
    assert supervisor.records() == []


def test_supervisord_ends_with_the_last_process_and_leaves_no_socket(
    supervisor: Supervisor, folder: Path
) -> None:
    start(supervisor, SLEEPER, "first")
    start(supervisor, SLEEPER, "second")
    supervisord = living_processes()[int((folder / "supervisord.pid").read_text())]
    supervisor.stop("first")
    assert is_living(supervisord)
    supervisor.stop("second")
    assert not is_living(supervisord)
    assert not (folder / "supervisor.sock").exists()


def test_stopping_twice_is_fine(supervisor: Supervisor) -> None:
    start(supervisor, SLEEPER)
    assert supervisor.stop("service")
    assert not supervisor.stop("service")


def test_another_command_finds_and_stops_what_this_one_started(supervisor: Supervisor, folder: Path) -> None:
    process = start(supervisor, SLEEPER)
    later = Supervisor(folder, grace_seconds=5)
    assert pid_of(later) == process.pid
    assert later.stop("service")
    assert not is_living(process)


def test_process_that_was_killed_is_started_again_and_says_why(supervisor: Supervisor) -> None:
    first = start(supervisor, SLEEPER)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: pid_of(supervisor) not in {0, first.pid})
    until(lambda: supervisor.trouble("service").startswith("restarted: terminated by SIGKILL at 2"))
    until(
        lambda: (
            "starting service again: the last one was terminated by SIGKILL"
            in supervisor.log("service").read_text()
        )
    )
    supervisor.stop("service")
    start(supervisor, SLEEPER)  # by somebody who saw it
    assert supervisor.trouble("service") == ""


@linux
def test_what_a_killed_process_left_ends_before_it_is_started_again(supervisor: Supervisor) -> None:
    first = start(supervisor, PARENT)
    child = child_of(supervisor)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: pid_of(supervisor) not in {0, first.pid})
    until(lambda: supervisor.log("service").read_text().count("child") == 2)
    assert not is_living(child)
    assert "ending what the last service left behind: 1 processes" in supervisor.log("service").read_text()


def test_process_that_ends_at_once_each_time_is_given_up_with_its_reason(supervisor: Supervisor) -> None:
    supervisor.start(
        "service", [sys.executable, "-c", "exit(3)"], ENVIRONMENT, supervisor.log("service").parent
    )
    until(lambda: supervisor.trouble("service").startswith("given up"))
    sentence = supervisor.trouble("service")
    assert "ended 2 times soon after its start, the last time by exit status 3 at " in sentence
    assert str(supervisor.log("service")) in sentence
    assert "`make up` tries again" in sentence
    assert supervisor.find("service") is None
    supervisor.stop("service")
    assert start(supervisor, SLEEPER).pid


def test_program_that_is_not_there_is_named_in_the_log(supervisor: Supervisor) -> None:
    supervisor.start("service", ["/no/such/program"], ENVIRONMENT, supervisor.log("service").parent)
    until(lambda: supervisor.trouble("service").startswith("given up"))
    assert "service cannot be started: [Errno 2] No such file" in supervisor.log("service").read_text()


def test_log_is_bounded(supervisor: Supervisor) -> None:
    line = "x" * 99_999
    start(supervisor, f"for _ in range(450): print({line!r}, flush=True)\nimport time; time.sleep(60)")
    logs = supervisor.log("service").parent
    until(lambda: (logs / "service.log.2").exists() and supervisor.log("service").stat().st_size > 0)
    sizes = [file.stat().st_size for file in logs.glob("service.log*")]
    assert len(sizes) == 3
    assert max(sizes) < 11_000_000


def test_child_in_a_session_of_its_own_is_stopped_too(supervisor: Supervisor) -> None:
    start(supervisor, PARENT)
    child = child_of(supervisor)
    supervisor.stop("service")
    assert not is_living(child)


@linux
def test_what_runs_on_without_supervisord_is_told_and_ended(supervisor: Supervisor, folder: Path) -> None:
    process = start(supervisor, PARENT)
    child = child_of(supervisor)
    os.kill(int((folder / "supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: "supervisord is gone" in supervisor.trouble("service"))
    assert is_living(process)
    assert supervisor.find("service") is None
    supervisor.end_left()
    assert not is_living(process)
    assert not is_living(child)
    start(supervisor, SLEEPER)  # though pid file and socket of the killed one are still there


@linux
def test_process_of_an_older_platform_is_found_by_its_token(supervisor: Supervisor, folder: Path) -> None:
    """A record once had other fields, and no supervisord ran; `make up` ends what such a one is of."""
    old = {"name": "service", "token": "0" * 32, "fingerprint": "", "port": 1, "pid": 4, "started": "x"}
    (folder / "processes").mkdir()
    (folder / "processes" / "service.json").write_text(json.dumps(old))
    environment = {**ENVIRONMENT, TOKEN_VARIABLE: "0" * 32}
    with subprocess.Popen([sys.executable, "-c", SLEEPER], env=environment, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        supervisor.end_left()
        assert other.wait(timeout=60) == -signal.SIGTERM


def test_process_that_ignores_the_request_is_killed(folder: Path) -> None:
    supervisor = Supervisor(folder, grace_seconds=0.3)
    process = start(supervisor, STUBBORN)
    supervisor.stop("service")
    assert not is_living(process)


def test_process_is_told_a_second_thing_right_after_it_was_asked_to_end(supervisor: Supervisor) -> None:
    program = (
        "import signal\nboth = {signal.SIGTERM, signal.SIGUSR1}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, both)\n"
        "print('ready', flush=True)\nprint(*sorted(signal.sigwait(both).name for _ in both))"
    )
    start(supervisor, program)
    supervisor.stop("service", 60, then=signal.SIGUSR1)
    assert supervisor.log("service").read_text().split() == ["ready", "SIGTERM", "SIGUSR1"]


def test_process_that_was_not_started_here_is_left_alone(supervisor: Supervisor) -> None:
    start(supervisor, SLEEPER)
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        supervisor.stop("service")
        assert other.poll() is None
        other.kill()


def test_two_folders_have_nothing_to_do_with_each_other(supervisor: Supervisor, tmp_path: Path) -> None:
    process = start(supervisor, SLEEPER)
    other = Supervisor(tmp_path, grace_seconds=5)
    beside = start(other, SLEEPER)
    other.stop("service")
    assert not is_living(beside)
    assert is_living(process)


def test_process_sees_only_the_environment_that_it_was_given_and_supervisord_nothing_private(
    supervisor: Supervisor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PRIVATE_KEY", "hidden-from-all")
    program = f"import os; print(*sorted(os.environ), flush=True)\n{SLEEPER}"
    environment = {**ENVIRONMENT, "OF_THE_FLOWS": "for-this-process"}
    supervisor.start("service", [sys.executable, "-c", program], environment, folder)
    log = supervisor.log("service")
    until(lambda: log.exists() and "\n" in log.read_text())
    assert set(log.read_text().split()) <= {*environment, TOKEN_VARIABLE, "LC_CTYPE", "ready"}
    kept = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert {"supervisord.conf", "supervisord.log", "supervisord.pid"} <= kept.keys()
    if sys.platform == "linux":
        kept["environ"] = Path(f"/proc/{kept['supervisord.pid'].decode().strip()}/environ").read_bytes()
    for name, content in kept.items():
        assert b"hidden-from-all" not in content, name
        assert b"for-this-process" not in content, name
    modes = [folder / "supervisor.sock", folder / "processes" / "service.json"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in modes] == [0o600, 0o600]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_process_has_the_umask_of_who_starts_it(supervisor: Supervisor, folder: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        start(supervisor, f"open('written', 'w').close()\n{SLEEPER}")
    finally:
        os.umask(before)
    written = folder / "logs" / "service" / "written"
    assert stat.S_IMODE(written.stat().st_mode) == 0o666 & ~mask


@linux
def test_supervisord_that_does_not_answer_is_not_taken_for_dead(
    supervisor: Supervisor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(supervisor, SLEEPER)
    number = int((folder / "supervisord.pid").read_text())
    monkeypatch.setattr(supervisord, "_ANSWER_SECONDS", 0.2)
    os.kill(number, signal.SIGSTOP)
    try:
        with pytest.raises(CommandError, match=r"supervisord does not answer at .*: timed out"):
            supervisor.end_left()
    finally:
        os.kill(number, signal.SIGCONT)
    monkeypatch.undo()
    assert is_living(process)


def test_too_long_a_path_for_a_socket_is_a_sentence_where_there_is_no_proc(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisord, "_WORKING_FOLDER", Path("/no/such/folder"))
    with pytest.raises(CommandError, match="move the checkout up"):
        start(Supervisor(folder / ("x" * 90)), SLEEPER)


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps")
def test_ps_tells_the_same_where_there_is_no_proc(supervisor: Supervisor) -> None:
    process = start(supervisor, PARENT)
    child = child_of(supervisor)
    first, second = from_ps(), from_ps()
    assert first[process.pid] == second[process.pid]
    assert (first[process.pid].group, first[child.pid].group) == (process.pid, child.pid)
    assert first[child.pid].parent == process.pid


def test_exit_code_of_a_one_shot_is_known_and_it_is_not_started_again(supervisor: Supervisor) -> None:
    start(supervisor, "import sys; print('no', flush=True); sys.exit(3)", restarts=False)
    until(lambda: supervisor.exit_code("service") is not None)
    assert supervisor.exit_code("service") == 3
    assert supervisor.find("service") is None
    assert supervisor.log("service").read_text() == "no\n"
    supervisor.stop("service")
    start(supervisor, "print('yes', flush=True)", restarts=False)
    until(lambda: supervisor.exit_code("service") is not None)
    assert supervisor.exit_code("service") == 0


def test_records_are_in_the_order_of_starting(supervisor: Supervisor) -> None:
    for name in ("zebra", "ant", "middle"):
        start(supervisor, SLEEPER, name)
    assert [record.name for record in supervisor.records()] == ["zebra", "ant", "middle"]


def test_damaged_record_is_passed_over(supervisor: Supervisor, folder: Path) -> None:
    (folder / "processes").mkdir()
    (folder / "processes" / "service.json").write_text("{")
    assert supervisor.records() == []
    assert not supervisor.stop("service")


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert last_lines(log, 2) == "line 998\nline 999"
    assert last_lines(tmp_path / "none.log") == ""
