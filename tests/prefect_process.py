"""A Prefect server as a process of the test's own, which it may stop and start again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.platforms import free_port


class PrefectProcess:
    """A Prefect server on SQLite.

    Args:
        home: Where its database and its log are.
        settings: More of Prefect's settings.
    """

    def __init__(self, home: Path, settings: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._log = home / "server.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host=127.0.0.1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--port={self.port}"],
                env=self._environment,
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

    def is_ready(self) -> bool:
        """Whether it answers and reaches its database."""
        try:
            return requests.get(f"{self.url}/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process:
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=60)
            self._process = None
