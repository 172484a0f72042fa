"""Measures what an operator does in bad weather, and prints it as JSON: ``python weather_figures.py FIGURE``.

The operator is the one that Python finds, so PYTHONPATH may name another checkout's; the mock and Prefect are
the environment's. PREFECT_API_URL names a server.
"""

import asyncio
import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import requests.adapters
from prefect import flow
from prefect.blocks.system import Secret

from operators.yeedu import YeeduOperator
from yeedu_mock.control.faults import Fault
from yeedu_mock.state.records import Run
from yeedu_mock.testing import RunningMock, default_settings, running_mock

LINES = 1000
STOP_AFTER_SECONDS = 4.0
GIVEN_UP_AFTER_SECONDS = 90.0
Figures = dict[str, Any]


@contextlib.contextmanager
def yeedu() -> Iterator[RunningMock]:
    """Run a separate mock."""
    with tempfile.TemporaryDirectory() as folder, running_mock(default_settings(Path(folder))) as mock:
        yield mock


def add_job(mock: RunningMock, program: str) -> str:
    """Add a job, and return its address."""
    body = {"program": program, "language": "shell"}
    answer = requests.post(f"{mock.url}/_control/jobs", json=body, timeout=30)
    answer.raise_for_status()
    return mock.job_url(answer.json()["job_id"])


def operator(url: str, **options: Any) -> YeeduOperator:
    """Return the operator for a job, with the blocks of these figures."""
    return YeeduOperator(url, "figures-details", "figures-password", **options)


def save_blocks() -> None:
    """Save the blocks with which the operator logs in."""
    Secret(value={"username": "demo"}).save("figures-details", overwrite=True)
    Secret(value="demo-password").save("figures-password", overwrite=True)


@flow(name="figures", validate_parameters=False)
def run(url: str, options: dict[str, Any] | None = None) -> str:
    """Run a job and return what it printed."""
    return operator(url, **(options or {})).execute().stdout


@flow(name="figures-async", validate_parameters=False)
async def run_until_told(url: str) -> None:
    """Run a job, and cancel the call when a line arrives on standard input."""
    call = asyncio.ensure_future(operator(url).aexecute())
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: (sys.stdin.readline(), loop.call_soon_threadsafe(call.cancel)), daemon=True
    ).start()
    await call


def requests_before_the_first_error() -> Figures:
    """Return how many requests a call makes while Yeedu is away, and how long it takes to fail."""
    from tests.weather.fast_time import SPEED, hurry

    sent: list[float] = []
    with hurry(), yeedu() as mock, socket.socket() as unused:
        send = requests.adapters.HTTPAdapter.send

        def count(self: Any, *arguments: Any, **options: Any) -> Any:
            sent.append(time.monotonic())
            return send(self, *arguments, **options)

        unused.bind(("127.0.0.1", 0))  # without listening
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        mock.switch(gateway_status=503)
        requests.adapters.HTTPAdapter.send = count  # type: ignore[method-assign]
        figures: Figures = {}
        urls = {"job": mock.job_url(101), "notebook": mock.notebook_url(201)}
        cases = {f"{kind}, 503": url for kind, url in urls.items()}
        cases |= {f"{kind}, refused": url.replace(mock.url, closed) for kind, url in urls.items()}
        for name, address in cases.items():
            sent.clear()
            begun = time.monotonic()
            is_over = _ends_within(GIVEN_UP_AFTER_SECONDS, address)
            seconds = round((time.monotonic() - begun) * SPEED)
            figures[name] = {"requests": len(sent), "seconds": seconds, "is_over": is_over}
    return figures


def _ends_within(seconds: float, url: str) -> bool:
    context = copy_context()

    def call() -> None:
        with contextlib.suppress(Exception):
            context.run(run, url)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def seconds_to_stop() -> Figures:
    """Return, for each weather and way to stop, the seconds until the run's end, and whether it was seen."""
    weathers: dict[str, Callable[[RunningMock], None]] = {
        "fine": lambda _: None,
        "503 for 1 s": lambda mock: _be_away(mock, 1.0),
        "503 for 5 s": lambda mock: _be_away(mock, 5.0),
        "connection dropped": lambda mock: mock.mock.control.faults.add(
            Fault(path=r"/(stop|kill)/\d+$", drop="before")
        ),
    }
    cases = [(name, way) for name in weathers for way in ("cancel", "SIGTERM", "timeout")]
    with ThreadPoolExecutor(3) as pool:
        seconds = list(pool.map(lambda case: _stop(weathers[case[0]], case[1]), cases))
    figures: Figures = {name: {} for name in weathers}
    for (name, way), found in zip(cases, seconds, strict=True):
        figures[name][way] = found
    stopped = [found["seconds"] for found in seconds if found["seconds"] is not None]
    figures["all"] = {
        "median": statistics.median(stopped) if stopped else None,
        "max": max(stopped) if len(stopped) == len(seconds) else None,
        "seen": f"{sum(found['is_seen'] for found in seconds)} of {len(seconds)}",
    }
    return figures


def _be_away(mock: RunningMock, seconds: float) -> None:
    mock.switch(gateway_status=503)
    threading.Timer(seconds, lambda: mock.switch(gateway_status=None)).start()


def _stop(bring: Callable[[RunningMock], None], way: str) -> Figures:
    """Run a long job in its own process, and stop it in some weather."""
    with yeedu() as mock:
        url = add_job(mock, "sleep 600")
        child = subprocess.Popen(
            [sys.executable, __file__, "call", url, way],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not any(remote.started_at for remote in mock.mock.store.all(Run)):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the run to be stopped by {way} did not start")
            time.sleep(0.02)
        [remote] = mock.mock.store.all(Run)
        # Shortly before the operator's own timeout, and long after it has seen that the run is RUNNING.
        time.sleep(STOP_AFTER_SECONDS - 0.3)
        bring(mock)
        begun = time.time()
        if way == "cancel" and child.stdin is not None:
            child.stdin.write(b"\n")
            child.stdin.flush()
        elif way == "SIGTERM":
            child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GIVEN_UP_AFTER_SECONDS)
        child.kill()
        child.wait()
        if way == "timeout":
            begun = _first_stop(mock) or begun
        ended = remote.ended_at.timestamp() if remote.ended_at else None
        seen = _seen_at(mock, remote.id, ended) if ended else None
        end = seen or ended
        return {"seconds": round(end - begun, 2) if end else None, "is_seen": seen is not None}


def _first_stop(mock: RunningMock) -> float | None:
    moments = [
        entry["at_seconds"] for entry in mock.mock.control.journal.since(0) if "/stop/" in entry["path"]
    ]
    return min(moments, default=None)


def _seen_at(mock: RunningMock, run_id: int, ended: float) -> float | None:
    """Return the time of the first answer that could show the end of a run."""
    for entry in mock.mock.control.journal.since(0):
        answered = entry["at_seconds"] + entry["duration_seconds"]
        is_of_run = entry["method"] == "GET" and entry["path"].endswith(f"/run/{run_id}")
        if is_of_run and entry["status"] == 200 and answered >= ended:
            return answered
    return None


def log_lines_lost() -> Figures:
    """Return how many of a job's lines are missing from its result if the download of its log breaks."""
    figures: Figures = {}
    program = f'sleep 1; seq -f "line %g" 1 {LINES}'
    for name, times, ranges in (
        ("never", 0, True),
        ("once", 1, True),
        ("three times", 3, True),
        ("once, no Range", 1, False),
    ):
        with yeedu() as mock:
            mock.switch(log_ranges=ranges, start_delay_seconds=0.5)
            fault = {"path": "/log/stdout$", "drop": "during", "drop_after_bytes": 1000}
            faults = [Fault.model_validate({**fault, "times": times})] if times else []
            threading.Thread(target=_add_at_the_end, args=(mock, faults), daemon=True).start()
            try:
                found = run(add_job(mock, program)).splitlines()
            except Exception as error:  # noqa: BLE001 - this is a figure, too
                figures[name] = type(error).__name__
            else:
                figures[name] = LINES - len({f"line {number}" for number in range(1, LINES + 1)} & {*found})
    return figures


def _add_at_the_end(mock: RunningMock, faults: list[Fault]) -> None:
    """Break downloads of a log only after the run's end: earlier ones would be repeated."""
    while not any(run.ended_at for run in mock.mock.store.all(Run)):
        time.sleep(0.001)
    for fault in faults:
        mock.mock.control.faults.add(fault)


FIGURES: dict[str, Callable[[], Figures]] = {
    "requests": requests_before_the_first_error,
    "stop": seconds_to_stop,
    "log": log_lines_lost,
}


def main() -> None:
    """Measure the named figure, or (``call URL WAY``) make one call that will be stopped."""
    if sys.argv[1] == "call":
        _, _, url, way = sys.argv
        if way == "cancel":
            asyncio.run(run_until_told(url))  # type: ignore[arg-type]
        else:
            run(url, {"timeout_seconds": STOP_AFTER_SECONDS} if way == "timeout" else None)
        return
    save_blocks()
    print(json.dumps(FIGURES[sys.argv[1]]()), flush=True)


if __name__ == "__main__":
    main()
