"""Runs `yeedu-watch` while a flow run is suspended for a Yeedu run, and costs next to nothing otherwise.

That program takes seconds, and 100 MB, to import Prefect, and most of the time, on many platforms always,
there is nothing to watch. So this one, standard library only, asks the server, and starts the program only
when there is: ``python -m yeedu_worker.watch``.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

PAUSE = "yeedu-record:"  # the prefix of such a pause's key
SECONDS_SETTING, FILE_SETTING = "YEEDU_WATCH_SECONDS", "YEEDU_WATCH_FILE"
_ANSWER_SECONDS = 30.0
_LATE_SECONDS = 180.0  # checks are at most a minute apart, and may wait for answers
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_PAGE = 200  # the server's maximum
_SUSPENDED = {"state": {"type": {"any_": ["PAUSED"]}, "name": {"any_": ["Suspended"]}}}


def is_anything_to_watch(environment: Mapping[str, str]) -> bool:
    """Ask the Prefect server whether a flow run is suspended for a Yeedu run.

    Raises:
        OSError: The server does not answer, or refuses.
        ValueError: Something other than a Prefect server answers.
    """
    api_url = environment.get("PREFECT_API_URL", "").rstrip("/")
    host = urlsplit(api_url).hostname or ""
    is_near = "." not in host or host.startswith("127.")  # a container's name, or this machine
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_near else []))
    headers = {"Content-Type": "application/json", **_login(environment)}
    offset = 0
    while True:
        body = json.dumps({"flow_runs": _SUSPENDED, "limit": _PAGE, "offset": offset}).encode()
        request = urllib.request.Request(f"{api_url}/flow_runs/filter", body, headers)  # noqa: S310
        with opener.open(request, timeout=_ANSWER_SECONDS) as response:
            page: list[dict[str, Any]] = json.load(response)
        if any(_is_watched(flow_run) for flow_run in page):
            return True
        offset += len(page)
        if len(page) < _PAGE:
            return False


def watch(
    is_ended: threading.Event, environment: Mapping[str, str], tell: Callable[[str], None] | None = None
) -> None:
    """Check again and again whether there is anything to watch, and watch it, until an event is set.

    A login that the server refuses ends the process: its supervisor sees that; a restart reads a new login.

    Args:
        is_ended: The event.
        environment: Says where the server is, and how often to check.
        tell: Gets a line for each thing that happens; standard output by default.
    """
    tell = tell or partial(print, flush=True)
    seconds = float(environment.get(SECONDS_SETTING) or 5.0)
    file, trouble = environment.get(FILE_SETTING), ""
    while not is_ended.is_set():
        try:
            is_needed = is_anything_to_watch(environment)
            trouble = ""
        except (OSError, HTTPException, ValueError) as error:
            # A server may want more than a login, such as a CSRF token, which the program can send.
            code = error.code if isinstance(error, HTTPError) else None
            if code == _UNAUTHORIZED:
                sys.exit(
                    "yeedu-watch: the Prefect server refuses the login (401); "
                    "check PREFECT_API_AUTH_STRING or PREFECT_API_KEY."
                )
            is_needed = code == _FORBIDDEN
            if type(error).__name__ != trouble:
                tell(f"Retrying to ask the Prefect server for suspended flow runs: {error}")
            trouble = type(error).__name__
        if file:
            Path(file).touch()
        if is_needed:
            _run_program(is_ended, environment, tell)
        is_ended.wait(seconds)


def _run_program(
    is_ended: threading.Event, environment: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    command = [sys.executable, "-m", "prefect_yeedu.flow_run.watch", "--until-idle"]
    with subprocess.Popen(command, env=dict(environment)) as program:
        ending = threading.Thread(target=_end_with, args=(is_ended, program), daemon=True)
        ending.start()
        code = program.wait()
    if is_ended.is_set():
        return
    if code > 0:
        sys.exit(code)  # the program has printed why
    if code:
        tell(f"yeedu-watch has ended with {code}; restarting it.")


def _end_with(is_ended: threading.Event, program: "subprocess.Popen[bytes]") -> None:
    while program.poll() is None:
        if is_ended.wait(1.0):
            program.terminate()
            return


def _is_watched(flow_run: Mapping[str, Any]) -> bool:
    match flow_run:
        case {"state": {"state_details": {"pause_key": str(key)}}}:
            return key.startswith(PAUSE)
        case _:
            return False


def _login(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header of the login; a password takes precedence over a key."""
    if who := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": "Basic " + base64.b64encode(who.encode()).decode()}
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}


def _is_on_time(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime < _LATE_SECONDS
    except OSError:
        return False


def main() -> None:
    """Watch until the process is told to end; with ``--check``, tell whether the last check was on time."""
    if sys.argv[1:2] == ["--check"]:
        sys.exit(0 if _is_on_time(Path(*sys.argv[2:] or [os.environ[FILE_SETTING]])) else 1)
    text = os.environ.get(SECONDS_SETTING) or "5"
    if not text.replace(".", "", 1).isdecimal() or not 0.1 <= float(text) <= 60:
        sys.exit(f"{SECONDS_SETTING} is '{text}', but it is a number of seconds, from 0.1 to 60.")
    is_ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        is_ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    watch(is_ended, os.environ)


if __name__ == "__main__":
    main()
