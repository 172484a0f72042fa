"""One local process: how it is started, when it is ready, and when it has to be restarted."""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.install.virtual_environment import files_digest
from local.loopback import is_answering
from local.settings.platform import ROOT


@dataclass(frozen=True)
class Service:
    """One process of the platform.

    Attributes:
        name: The name of the compose service.
        command: The program and its arguments.
        environment: Its variables, in addition to those that every process gets.
        port: The port at which it answers; 0 for a one-shot.
        ready_url: Answers with success when the service does its work; empty for a one-shot.
        sources: The files and folders whose change means that it has to be restarted.
        ready_command: Succeeds when a service that does not speak HTTP does its work.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    port: int = 0
    ready_url: str = ""
    sources: Sequence[str] = ()
    ready_command: Sequence[str] = field(default=(), kw_only=True)

    def is_ready(self) -> bool:
        """Tell whether the service does its work."""
        if self.ready_command:
            return subprocess.run(self.ready_command, capture_output=True, check=False).returncode == 0
        return is_answering(self.ready_url)

    def fingerprint(self) -> str:
        """Return a digest of what the process is started from, including its secret files' contents."""
        files = [file for source in self.sources for file in sorted(_files(ROOT / source))]
        described = json.dumps([*self.command, self.environment], sort_keys=True)
        digest = hashlib.sha256(f"{files_digest(files)} {described}".encode())
        for name, value in sorted(self.environment.items()):
            if name.endswith("_FILE") and Path(value).is_file():
                digest.update(f"{name} ".encode() + Path(value).read_bytes())
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]
