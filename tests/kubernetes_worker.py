"""Prefect's worker for Kubernetes, of `requirements/extras/kubernetes.txt`, beside what tests have.

Installed like every other package, each `prefect` command of the tests would import it.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from local.install.packages import package_index, trusting
from local.install.virtual_environment import PROGRAMS
from local.settings.platform import ROOT, Settings
from tests.built_once import built_once

LOCK = ROOT / "requirements" / "extras" / "kubernetes.txt"
_PACKAGE = re.compile(r"(?m)^[a-z0-9].*(?:\n    .*)*\n")


@cache
def packages() -> Path:
    """Return a folder with what the extra has beside the packages of tests; for `PYTHONPATH`."""
    installed = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    known = {entry.split(" ")[0] for entry in _PACKAGE.findall(installed)}
    entries = _PACKAGE.findall(LOCK.read_text(encoding="utf-8"))
    further = "".join(entry for entry in entries if entry.split(" ")[0] not in known)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    digest = hashlib.sha256(f"{version}\n{further}".encode()).hexdigest()[:16]
    settings = Settings.read()
    with built_once(f"kubernetes-worker-{digest}") as place:
        if not place.exists():
            with (
                tempfile.TemporaryDirectory(dir=place.parent) as scratch,
                trusting(settings, PROGRAMS / "python") as certificates,
            ):
                lock = Path(scratch) / "lock.txt"
                lock.write_text(further, encoding="utf-8")
                install = [
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                    "--requirements",
                    lock,
                ]
                subprocess.run(
                    [PROGRAMS / "uv", *install, "--target", Path(scratch) / "packages"],
                    env={**os.environ, **certificates, **package_index(settings)},
                    check=True,
                )
                (Path(scratch) / "packages").rename(place)
    return place
