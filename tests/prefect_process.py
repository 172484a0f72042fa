"""A Prefect server as a process of the test's own, which it may stop and start again."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Self

import requests

from tests.built_once import built_once
from tests.platforms import free_port

# The platform's own: Prefect's lets many clients at once lock each other out of SQLite, and starts twice.
SERVE = str(Path(__file__).parents[1] / "server" / "serve.py")


class PrefectProcess:
    """A Prefect server on SQLite.

    Args:
        home: Where its database and its log are.
        settings: More of Prefect's settings.
        program: What Python is to run, with its arguments.
    """

    def __init__(
        self,
        home: Path,
        settings: dict[str, str] | None = None,
        program: Sequence[str] = (SERVE,),
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._log = home / "server.log"
        self._database = home / "prefect.db"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **(settings or {}),
        }
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it; it stops at the end of the block."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, if it runs."""
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        if not self._database.exists():
            shutil.copy(empty_database(), self._database)
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program, "--host=127.0.0.1", f"--port={self.port}"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 240  # on a busy machine
        while not self.is_ready():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The process, which runs."""
        assert self._process
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it answers and reaches its database."""
        try:
            return requests.get(f"{self.url}/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def log(self) -> str:
        """Return what it has said."""
        return self._log.read_text(encoding="utf-8")

    def await_end(self, seconds: float) -> int:
        """Wait until it has ended of its own accord, and return its exit code."""
        assert self._process
        code = self._process.wait(timeout=seconds)
        self._process = None
        return code

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process:
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=180)
            self._process = None

    def make_database(self) -> Path:
        """Let Prefect make an empty database, and return the file."""
        try:
            self._start()
        finally:
            self.stop()
        with sqlite3.connect(self._database) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return self._database


def empty_database() -> Path:
    """Return an empty database of this version of Prefect: most of a server's first start goes into it."""
    with built_once(f"prefect-{version('prefect')}.db") as file:
        if not file.exists():
            with tempfile.TemporaryDirectory(dir=file.parent) as home:
                PrefectProcess(Path(home)).make_database().replace(file)
    return file
