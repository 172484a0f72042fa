"""The flow run-shell-command: output as it appears, exit codes, time limits, and nothing left behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from run_shell_command import run_shell_command

ReadLog = Callable[..., list[Any]]
WaitFor = Callable[..., Any]

START = "import sys; from run_shell_command import run_shell_command; run_shell_command(sys.argv[1])"
FLOWS = str(Path(__file__).parents[1])


def is_running(process_id: int) -> bool:
    try:
        # A zombie has ended, and only waits for its parent to notice.
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


def have_ended(process_ids: list[int]) -> bool:
    return not any(is_running(process_id) for process_id in process_ids)


def read_process_ids(path: Path, count: int) -> list[int]:
    lines = path.read_text().split() if path.exists() else []
    return [int(line) for line in lines] if len(lines) == count else []


def test_both_streams_are_in_the_log_line_by_line_in_their_order(read_log: ReadLog) -> None:
    state = run_shell_command("echo one; echo two >&2; echo; echo three", return_state=True)
    assert state.is_completed()
    log = read_log(state)
    assert log[log.index("one") :][:4] == ["one", "two", "", "three"]
    assert state.result() == ["one", "two", "", "three"]


def test_a_line_is_logged_while_the_command_still_runs(
    caplog: pytest.LogCaptureFixture, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = run_python("-u", "-c", START, f"echo before; cat {gate}; echo after", PYTHONPATH=FLOWS)
    for line in process.stdout:
        if line.rstrip().endswith("- before"):
            break
    else:
        pytest.fail("the first line never appeared")
    assert process.poll() is None
    gate.write_text("")  # the command ends only now
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "- after" in output


def test_the_default_command_is_short_and_completes(prefect_server: str) -> None:
    started = time.monotonic()
    state = run_shell_command(return_state=True)
    assert state.is_completed()
    assert time.monotonic() - started < 90
    assert "step 3 of 3" in state.result()


def test_a_failing_exit_code_fails_the_run_with_the_code_and_the_last_lines(prefect_server: str) -> None:
    command = "for number in $(seq 30); do echo line-$number; done; echo the end >&2; exit 3"
    state = run_shell_command(command, return_state=True)
    assert state.type == StateType.FAILED
    assert state.message is not None
    assert "exited with code 3" in state.message
    expected = [f"line-{number}" for number in range(22, 31)]
    assert state.message.split("\n")[1:] == [*expected, "the end"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"command": "kill -KILL $$"}, "was ended by signal 9 (SIGKILL). It wrote nothing."),
        ({"command": "no-such-program-here"}, "exited with code 127"),
        ({"command": "true", "working_directory": "/no/such/folder"}, "'/no/such/folder' is not a folder"),
    ],
)
def test_what_went_wrong_is_in_the_runs_message(
    prefect_server: str, arguments: dict[str, str], sentence: str
) -> None:
    state = run_shell_command(**arguments, return_state=True)
    assert state.type == StateType.FAILED
    assert sentence in (state.message or "")


@pytest.mark.parametrize("arguments", [{"command": ""}, {"timeout_seconds": 0}, {"timeout_seconds": -1}])
def test_parameters_that_make_no_sense_are_refused(prefect_server: str, arguments: dict[str, Any]) -> None:
    state = run_shell_command(**arguments, return_state=True)
    assert state.type == StateType.FAILED
    assert "Validation of flow parameters failed" in (state.message or "")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(
    prefect_server: str, tmp_path: Path, wait_for: WaitFor
) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 600 & echo $$ $! > {pids}; echo waiting; wait"
    state = run_shell_command(command, timeout_seconds=8, return_state=True)
    assert state.type == StateType.FAILED
    assert "ended after 8 seconds. Its last lines:\nwaiting" in (state.message or "")
    process_ids = read_process_ids(pids, 2)
    assert process_ids
    wait_for("end of the command", lambda: have_ended(process_ids))


def test_a_command_that_ignores_the_request_to_end_is_killed(
    prefect_server: str, tmp_path: Path, wait_for: WaitFor
) -> None:
    pids = tmp_path / "pids"
    command = f"trap '' TERM; echo $$ > {pids}; while :; do sleep 0.2; done"
    state = run_shell_command(command, timeout_seconds=5, return_state=True)
    assert state.type == StateType.FAILED
    process_ids = read_process_ids(pids, 1)
    assert process_ids
    wait_for("end of the command", lambda: have_ended(process_ids))


def test_what_a_command_leaves_in_the_background_is_ended(
    read_log: ReadLog, tmp_path: Path, wait_for: WaitFor
) -> None:
    pids = tmp_path / "pids"
    state = run_shell_command(f"sleep 600 & echo $! > {pids}; echo done", return_state=True)
    assert state.is_completed()
    assert "The command left processes in the background; they are ended now." in read_log(state)
    process_ids = read_process_ids(pids, 1)
    assert process_ids
    wait_for("end of the background process", lambda: have_ended(process_ids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_run_ends_its_command_and_all_that_it_started(
    run_python: Callable[..., Any], tmp_path: Path, wait_for: WaitFor, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    process = run_python("-c", START, f"sleep 600 & echo $$ $! > {pids}; wait", PYTHONPATH=FLOWS)
    wait_for("running command", lambda: read_process_ids(pids, 2) or process.poll() is not None, 100)
    process_ids = read_process_ids(pids, 2)
    assert process_ids, process.communicate()
    process.send_signal(number)
    output, _ = process.communicate(timeout=100)
    assert process.returncode != 0, output
    wait_for("end of the command", lambda: have_ended(process_ids))


def test_a_cancellation_in_the_middle_of_the_start_still_ends_the_command(
    run_python: Callable[..., Any], tmp_path: Path, wait_for: WaitFor
) -> None:
    code = """
import os, signal, sys, run_shell_command as module
start = module._start
def start_and_be_cancelled(*arguments):
    process = start(*arguments)
    with open(sys.argv[1], "w") as pid:
        print(process.pid, file=pid)
    os.kill(os.getpid(), signal.SIGTERM)
    return process
module._start = start_and_be_cancelled
module.run_shell_command("sleep 600")
"""
    pid = tmp_path / "pid"
    process = run_python("-c", code, str(pid), PYTHONPATH=FLOWS)
    output, _ = process.communicate(timeout=100)
    assert process.returncode != 0, output
    process_ids = read_process_ids(pid, 1)
    assert process_ids, output
    wait_for("end of the command", lambda: have_ended(process_ids))


def test_the_command_does_not_get_prefects_own_credentials(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter2")
    monkeypatch.setenv("PREFECT_API_KEY", "hunter2")
    monkeypatch.setenv("PREFECT_CLIENT_CUSTOM_HEADERS", '{"Authorization": "Bearer hunter2"}')
    monkeypatch.setenv("OF_THE_WORKER", "kept")
    state = run_shell_command("env", return_state=True)
    assert state.is_completed()
    seen = run_shell_command("env | grep -c hunter2; echo $OF_THE_WORKER")
    assert seen == ["0", "kept"]


def test_odd_output_does_no_harm(read_log: ReadLog) -> None:
    odd = r"printf 'nul\000byte\nnot \377 utf-8\nprogress 1\rprogress 2\nno line break'"
    command = rf"{odd}; head -c 70000 /dev/zero | tr '\0' x"
    state = run_shell_command(command, return_state=True)
    assert state.is_completed()
    messages = read_log(state)
    for line in (
        "nul\N{REPLACEMENT CHARACTER}byte",
        "not \N{REPLACEMENT CHARACTER} utf-8",
        "progress 1",
        "progress 2",
    ):
        assert line in messages
    assert any(message.startswith("no line break") for message in messages)


def test_the_run_is_named_after_its_command_on_one_line(prefect_server: str) -> None:
    state = run_shell_command("echo one\necho two", return_state=True)
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == "$ echo one echo two"
