"""Runs a test's program in a process of its own, which knows nothing of the tests' Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_python(
    program: str, home: Path, *arguments: str, folder: Path | None = None, **variables: str
) -> Any:
    """Run a program, which must succeed, and return the JSON that it prints.

    Args:
        program: Its text.
        home: Prefect's home.
        arguments: What it finds in ``sys.argv``.
        folder: Where it runs; this process's folder if there is none.
        variables: Join its environment.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SSL_CERT_"))
    }
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_EPHEMERAL_ENABLED": "false", **variables}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
