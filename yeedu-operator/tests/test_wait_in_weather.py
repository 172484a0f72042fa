"""A job's whole life on the mock while the weather is bad: one run, its true end, its whole log."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from addressed import AddressedClient, execute
from deployed_runs import await_true
from mock_yeedu import MockYeedu
from watched_run import Listener

from prefect_yeedu.errors import YeeduRunTimedOut
from prefect_yeedu.models import YeeduResult
from prefect_yeedu.runs.remote_run import RemoteRun
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions

PROGRAM = """
import time
for number in range(8):
    print("line", number, flush=True)
    time.sleep(0.25)
"""
LINES = [f"line {number}" for number in range(8)]
# Its last line comes once a file is there.
UNTIL = """
import pathlib, time
for number in range(7):
    print("line", number, flush=True)
while not pathlib.Path({!r}).exists():
    time.sleep(0.05)
print("line 7")
"""


@contextmanager
def weather(mock: MockYeedu, **switches: Any) -> Iterator[None]:
    before = mock.control("GET", "switches")
    mock.control("PATCH", "switches", json=switches)
    try:
        yield
    finally:
        mock.control("PATCH", "switches", json={name: before[name] for name in switches})


class WhenRunning(Listener):
    """Does something in another thread as soon as the run is seen to run."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.thread = threading.Thread(target=call)

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        self.thread.start()


def finish(client: AddressedClient, listener: Listener, **options: Any) -> YeeduResult:
    with client:
        return execute(client, RunRequest(options=WaitOptions(**options)), listener)


def job_of(mock: MockYeedu, program: str = PROGRAM) -> int:
    return mock.control("POST", "jobs", json={"program": program})["job_id"]


def runs_of(mock: MockYeedu, job: int) -> list[str]:
    return [run["run_status"] for run in mock.runs_of(job)]


@pytest.mark.parametrize(
    "switches",
    [
        {"log_ranges": False},
        {"empty_log_status": 404},
        {"replica_lag_seconds": 1.5},
        {"run_fields_hidden": ["end_time", "exit_code", "start_time", "created_by"]},
        {"requests_per_second": 8},
    ],
    ids=lambda switches: next(iter(switches)),
)
def test_a_server_of_another_kind_is_waited_for(mock: MockYeedu, switches: dict[str, Any]) -> None:
    job, listener = job_of(mock), Listener()
    with weather(mock, **switches):
        result = finish(mock.client(f"job/{job}"), listener)
    assert (result.state, result.stdout.splitlines(), result.truncated) == ("DONE", LINES, ())
    assert [line for stream, line in listener.lines if stream == "stdout"] == LINES
    assert runs_of(mock, job) == ["DONE"]


class Broken(Listener):
    """Has a gateway stand in for Yeedu from the first line on, until some time after that was noticed."""

    def __init__(self, mock: MockYeedu, status: int, is_over: Path) -> None:
        super().__init__()
        self._mock, self._status, self._is_over = mock, status, is_over
        self.end = threading.Timer(1.0, self._mend)

    def _mend(self) -> None:
        self._mock.control("PATCH", "switches", json={"gateway_status": None})
        self._is_over.touch()

    def on_line(self, stream: Any, line: str) -> None:
        super().on_line(stream, line)
        if line == "line 0":
            self._mock.control("PATCH", "switches", json={"gateway_status": self._status})

    def on_trouble(self, text: str) -> None:
        super().on_trouble(text)
        if text.startswith("Waiting for Yeedu to tell about run") and self.end.ident is None:
            self.end.start()


@pytest.mark.parametrize("status", [404, 405, 502, 503])
def test_a_gateway_that_stands_in_for_yeedu_is_waited_out(
    mock: MockYeedu, tmp_path: Path, status: int
) -> None:
    is_over = tmp_path / "over"
    job, listener = job_of(mock, UNTIL.format(str(is_over))), Broken(mock, status, is_over)
    try:
        result = finish(mock.client(f"job/{job}"), listener)
    finally:
        mock.control("PATCH", "switches", json={"gateway_status": None})
        is_over.touch()
    listener.end.join()
    assert (result.state, result.stdout.splitlines(), result.truncated) == ("DONE", LINES, ())
    assert runs_of(mock, job) == ["DONE"]
    assert any(text.startswith("Waiting for Yeedu to tell about run") for text in listener.troubles)


# Python does not close the socket of a connection that was reset before its handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("end", ["closed", "reset"])
def test_handshakes_that_are_dropped_are_waited_out(tls_mock: MockYeedu, end: str) -> None:
    certificate = str(tls_mock.certificate)

    def control(method: str, path: str, **arguments: Any) -> Any:
        return tls_mock.control(method, path, verify=certificate, **arguments)

    job = control("POST", "jobs", json={"program": PROGRAM})["job_id"]

    class Dropping(Listener):
        def on_line(self, stream: Any, line: str) -> None:
            super().on_line(stream, line)
            if line == "line 1":
                control("PATCH", "switches", json={"connections_to_drop": 4, "connection_end": end})
                client._transport.close()  # pyright: ignore[reportPrivateUsage] - so that it connects again

    client = tls_mock.client(f"job/{job}")
    result = finish(client, Dropping())
    assert (result.state, result.stdout.splitlines(), result.truncated) == ("DONE", LINES, ())
    assert control("GET", "switches")["connections_to_drop"] == 0
    gc.collect()  # those sockets, here and not in another test


def test_a_stop_outlasts_a_gateway_that_is_away(mock: MockYeedu) -> None:
    job = job_of(mock, "import time; print('up', flush=True); time.sleep(120)")
    since = mock.control("GET", "journal")[-1]["number"]

    def answers_to_a_stop() -> list[int]:
        entries = mock.control("GET", "journal", params={"since": since})
        return [entry["status"] for entry in entries if "/run/stop/" in entry["path"]]

    def break_until_a_stop_meets_it() -> None:
        with weather(mock, gateway_status=503, stop_delay_seconds=1):
            await_true("a stop that the gateway answers", answers_to_a_stop)

    listener = WhenRunning(break_until_a_stop_meets_it)
    with pytest.raises(YeeduRunTimedOut, match="It was stopped"):
        finish(mock.client(f"job/{job}"), listener, timeout_seconds=2)
    listener.thread.join()
    first, *_, last = answers_to_a_stop()
    assert (first, last) == (503, 201)
    assert runs_of(mock, job) == ["STOPPED"]
