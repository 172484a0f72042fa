"""Run a published client as a process of its own, and keep what it printed without its secrets."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

JSON_WEB_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Ended:
    """An ended process.

    Attributes:
        exit_code: Its exit code.
        output: What it wrote to both streams, without tokens and passwords: these clients print some, and
            pytest prints what an assertion fails on.
    """

    exit_code: int
    output: str


def run_client(command: list[str], home: Path, **environment: str) -> Ended:
    """Run a command in the folder `home` with nothing of this process's environment but `PATH`.

    Raises:
        AssertionError: It did not end in time.
    """
    process = subprocess.Popen(
        command,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONIOENCODING": "utf-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    secrets = [value for name, value in environment.items() if name.endswith(("PASSWORD", "TOKEN"))]
    try:
        output, is_late = process.communicate(timeout=TIMEOUT_SECONDS)[0], False
    except subprocess.TimeoutExpired:
        process.kill()
        output, is_late = process.communicate()[0], True
    output = JSON_WEB_TOKEN.sub("***", output)
    for secret in secrets:
        output = output.replace(secret, "***")
    assert not is_late, f"{command[0]} did not end within {TIMEOUT_SECONDS} s:\n{output}"
    return Ended(process.returncode, output)
