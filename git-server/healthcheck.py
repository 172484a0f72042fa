#!/usr/bin/env python3
"""Exit 0 if this server's newest commit can be cloned over HTTP, as every flow run does.

File contents are left out of the clone, so that the check stays cheap whatever the repository's size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

URL = "http://127.0.0.1:8080/flows.git"
TIMEOUT_SECONDS = 4  # below the container's own timeout, so that the reason is shown


def main() -> int:
    """Clone once; return 0, or 1 after printing git's error."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "/usr/local/bin/git-credential-platform",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_HTTP_USER_AGENT": "git-server-healthcheck",  # lighttpd.conf keeps it out of the access log
    }
    with tempfile.TemporaryDirectory(prefix="healthcheck-") as folder:
        command = [
            "git",
            "-c",
            "http.proxy=",
            "clone",
            "--quiet",
            "--bare",
            "--depth=1",
            "--filter=blob:none",
        ]
        try:
            clone = subprocess.run(
                [*command, URL, str(Path(folder) / "flows.git")],
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"no clone of {URL} within {TIMEOUT_SECONDS} s", file=sys.stderr)
            return 1
    if clone.returncode != 0:
        print(f"cannot clone {URL}: {clone.stderr.strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
