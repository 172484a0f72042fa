"""What every test of the house shares: nothing that a machine lacks is skipped in silence."""

import os
import shutil
import subprocess

import pytest


def _missing_docker() -> str:
    """Return why tests that need a Docker engine cannot run here, or an empty string."""
    if not shutil.which("docker"):
        return "no docker command"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"`{' '.join(command)}` failed"
    return ""


def _missing_browser() -> str:
    """Return why tests that need Chromium cannot run here, or an empty string."""
    return "" if shutil.which("chromium") or shutil.which("google-chrome") else "no chromium command"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why; with REQUIRE_DOCKER=1 fail instead."""
    needed = {name for item in items for name in ("docker", "browser") if item.get_closest_marker(name)}
    missing = {"docker": _missing_docker, "browser": _missing_browser}
    reasons = {name: reason for name in sorted(needed) if (reason := missing[name]())}
    if reasons and os.environ.get("REQUIRE_DOCKER"):
        pytest.exit(
            f"REQUIRE_DOCKER is set, but this machine has {'; '.join(reasons.values())}", returncode=1
        )
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
