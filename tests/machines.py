"""Machines of tests, as images of their own: `tests/e2e/machines/Dockerfile`."""

import subprocess

from tests.platforms import ROOT

_FOLDER = ROOT / "tests" / "e2e" / "machines"


def machine(kind: str) -> str:
    """Build the image of a kind of machine, a stage of that file, and return its name."""
    name = f"yeedu-prefect-test-machine-{kind}"
    build = ["docker", "build", "--quiet", "--target", kind, "--tag", name, str(_FOLDER)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return name


def docker(*arguments: str, timeout_seconds: float = 300) -> str:
    """Run a docker command that has to succeed, and return what it prints."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout_seconds
    )
    assert not done.returncode, f"docker {arguments[0]}: {done.stdout[-8000:]}{done.stderr[-8000:]}"
    return done.stdout
