"""Containers of git-server's image, under the limits that compose sets."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

REPOSITORY_ROOT = Path(__file__).parents[1]
HARDENED = [
    "--read-only",
    "--tmpfs=/tmp",
    "--tmpfs=/var/tmp:size=192m",
    "--tmpfs=/srv",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=512m",
    "--pids-limit=512",
]


def docker(*arguments: str, timeout_seconds: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a docker command."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


class Server:
    """One running container."""

    def __init__(self, container: str) -> None:
        self.container = container

    @cached_property
    def port(self) -> int:
        """The published port; a container that has ended has none."""
        return int(docker("port", self.container, "8080/tcp").stdout.split()[0].split(":")[-1])

    @property
    def base(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the repository."""
        return f"{self.base}/flows.git"

    def wait_until_healthy(self) -> None:
        """Wait for the first clone; fail with the container's log after two minutes."""
        deadline = time.monotonic() + 120
        while (check := self.check_health()).returncode != 0:
            assert time.monotonic() < deadline, f"{check.stderr}\n{self.logs()}"
            time.sleep(0.1)

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """Run the container's own check."""
        return docker("exec", self.container, "/opt/git-server/healthcheck")

    def logs(self) -> str:
        """Return what it wrote."""
        result = docker("logs", self.container)
        return result.stdout + result.stderr

    def stop(self) -> float:
        """Send SIGTERM and return the seconds until the container was gone."""
        started = time.monotonic()
        docker("stop", "--time=20", self.container)
        return time.monotonic() - started


@contextmanager
def image_built() -> Iterator[str]:
    """Build the image, yield its tag, and remove that."""
    tag = f"git-server-test-{uuid.uuid4().hex[:12]}"
    dockerfile = REPOSITORY_ROOT / "git-server" / "Dockerfile"
    build = ("build", "--tag", tag, "--file", str(dockerfile), str(REPOSITORY_ROOT))
    built = docker(*build, timeout_seconds=900)
    assert built.returncode == 0, built.stderr
    yield tag
    docker("image", "rm", "--force", tag)


@contextmanager
def started(image: str, checkout: Path, *options: str, user: str = "10001:10001") -> Iterator[Server]:
    """Serve a checkout from a container of its own, which is removed afterwards."""
    mount = f"--mount=type=bind,source={checkout},target=/checkout,readonly"
    run = ["run", "--detach", "--publish=127.0.0.1:0:8080", mount, f"--user={user}", *options, image]
    begun = docker(*run)
    assert begun.returncode == 0, begun.stderr
    container = begun.stdout.strip()
    try:
        yield Server(container)
    finally:
        docker("rm", "--force", "--volumes", container)
