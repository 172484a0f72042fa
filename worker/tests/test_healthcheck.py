"""The worker's health check against an endpoint that answers as Prefect's does."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from yeedu_worker.free_space import shortages


@contextmanager
def endpoint(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(port: int, *, program: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    how = ["-c", program] if program else ["-m", "yeedu_worker.healthcheck"]
    return subprocess.run(
        [sys.executable, *how],
        env={
            "PREFECT_WORKER_WEBSERVER_PORT": str(port),
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "x",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_polling_worker_is_healthy() -> None:
    with endpoint(200) as port:
        assert check(port).returncode == 0


def test_patches_that_the_worker_left_out_are_printed(tmp_path: Path) -> None:
    """`docker inspect` shows it, and `make status` with it."""
    told = "Prefect's own code runs in place of heartbeats (Prefect 3.99.0 is not known, 3.9.1 is)"
    (tmp_path / "worker-patches.json").write_text(json.dumps({"left_out": told, "patches": []}))
    with endpoint(200) as port:
        done = check(port, PREFECT_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, told)


def test_worker_that_stopped_polling_is_not() -> None:
    with endpoint(503) as port:
        done = check(port)
    assert done.returncode == 1
    assert "503" in done.stderr


def test_missing_worker_is_not() -> None:
    with endpoint(200) as port:
        pass
    assert check(port).returncode == 1


def cgroup(folder: Path, most: str, taken: int, given_back: int) -> Path:
    """What the kernel tells about a container's memory, in megabytes."""
    megabyte = 1024 * 1024
    folder.mkdir()
    (folder / "memory.max").write_text(f"{most if most == 'max' else int(most) * megabyte}\n")
    (folder / "memory.current").write_text(f"{taken * megabyte}\n")
    (folder / "memory.stat").write_text(f"anon 1\nactive_file {given_back * megabyte}\ninactive_file 0\n")
    return folder


@pytest.mark.parametrize(
    ("most", "taken", "given_back", "told"),
    [
        ("4096", 4000, 0, "96 of 4096 MB are left of memory"),
        ("4096", 4000, 500, ""),
        ("4096", 3000, 0, ""),
        ("200", 195, 0, "5 of 200 MB"),
        ("200", 150, 0, ""),
        ("max", 4000, 0, ""),
    ],
)
def test_too_little_memory_is_told(tmp_path: Path, most: str, taken: int, given_back: int, told: str) -> None:
    found = " ".join(shortages({}, cgroup(tmp_path / "cgroup", most, taken, given_back)))
    assert told in found
    assert bool(told) == ("memory" in found)


def test_full_folder_of_temporary_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    megabyte = 1024 * 1024
    room = {tmp_path: SimpleNamespace(total=2048 * megabyte, free=3 * megabyte)}
    plenty = SimpleNamespace(total=2048 * megabyte, free=1024 * megabyte)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: room.get(place, plenty))
    [told] = shortages({"TMPDIR": str(tmp_path), "PREFECT_HOME": "/"}, tmp_path)
    assert f"3 of 2048 MB are left of {tmp_path}" in told


FULL = """
import runpy, shutil
from types import SimpleNamespace
real = shutil.disk_usage
full = SimpleNamespace(total=2048 << 20, free=3 << 20)
shutil.disk_usage = lambda place: full if str(place) == {place!r} else real(place)
runpy.run_module("yeedu_worker.healthcheck", run_name="__main__")
"""


def test_polling_worker_without_room_is_not_healthy(tmp_path: Path) -> None:
    with endpoint(200) as port:
        done = check(port, program=FULL.format(place=str(tmp_path)), TMPDIR=str(tmp_path))
        other = check(port, program=FULL.format(place="/elsewhere"), TMPDIR=str(tmp_path))
    assert (done.returncode, other.returncode) == (1, 0)
    assert f"3 of 2048 MB are left of {tmp_path}" in done.stderr


def test_machine_without_a_limit_of_memory_is_not_judged(tmp_path: Path) -> None:
    assert "memory" not in " ".join(shortages({}, tmp_path))


WAITING = """
import sys
from yeedu_worker.wait_status import waiting
with waiting("the work pool blue"):
    print(flush=True)
    sys.stdin.read()
"""


def test_worker_that_has_waited_long_for_its_pool_is_well(tmp_path: Path) -> None:
    with endpoint(200) as port:
        pass
    variables = {"PREFECT_HOME": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WAITING], env=variables, **pipes) as worker:
        assert worker.stdout
        assert worker.stdin
        worker.stdout.readline()
        assert check(port, **variables).returncode == 1, "who starts it is to see it poll"
        os.utime(tmp_path / "worker-waits", (0, 0))
        done = check(port, **variables)
        assert (done.returncode, done.stdout) == (0, "the worker waits for the work pool blue\n")
        worker.stdin.close()
    assert check(port, **variables).returncode == 1, "it waits no longer, and there is nobody"
