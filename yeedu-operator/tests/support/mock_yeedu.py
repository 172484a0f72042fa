"""The mock Yeedu as a process, and what a test may do to it."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from scripted_yeedu import TENANT

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.urls import parse_url


@dataclass(frozen=True)
class MockYeedu:
    """The mock Yeedu in a process of its own."""

    base: str
    password: str
    process: subprocess.Popen[bytes]

    def url(self, path: str) -> str:
        return f"{self.base}/tenant/{TENANT}/workspace/1/{path}"

    def client(self, path: str) -> YeeduClient:
        return YeeduClient(parse_url(self.url(path)), Credentials("demo", self.password))

    def control(self, method: str, path: str, **arguments: Any) -> Any:
        response = requests.request(method, f"{self.base}/_control/{path}", timeout=30, **arguments)
        response.raise_for_status()
        return response.json() if response.content else None


def base_of(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if match := re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text()):
            base = match[0]
            try:
                if requests.get(f"{base}/healthCheck", timeout=5).ok:
                    return base
            except requests.RequestException:
                pass  # not listening yet, or on a busy machine not answering yet
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"The mock did not start:\n{log.read_text()}")
