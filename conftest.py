"""What every test of the house shares: nothing that a machine lacks is skipped in silence."""

import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# A few runs, each of which may take as long as `tests.platforms` waits for one: on two busy cores they do.
PLATFORM_TIMEOUT_SECONDS = 900
# What generated tests draw their cases from: pinned, so that a change's run fails for the change.
os.environ["TEST_SEED"] = SEED = os.environ.get("TEST_SEED") or "20261130"
# What `make test ARGS=...` hands to the `make`s that tests run, which it is not meant for.
OF_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS")


@cache
def _missing(what: str) -> str:
    """Return why tests that need Docker, a browser or Caddy cannot run here; nothing when they can."""
    if what == "browser":
        found = shutil.which("chromium") or shutil.which("google-chrome")
        return "" if found else "no chromium command"
    if what == "caddy":
        return "" if shutil.which("caddy") else "no caddy command"
    if not shutil.which("docker"):
        return "no docker command"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return f"no Docker engine: `{' '.join(command)}` failed"
    return ""


@pytest.hookimpl(tryfirst=True)  # before Hypothesis looks
def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis draw from the seed as well."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = SEED


def pytest_report_header() -> str:
    """Say what makes the generated cases of this run anew."""
    return f"generated cases: TEST_SEED={SEED}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Hear Ctrl-C again, and with REQUIRE_DOCKER=1 refuse a machine that would leave tests out."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, as are all it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in OF_MAKE:
        os.environ.pop(name, None)
    if os.environ.get("REQUIRE_DOCKER") and not hasattr(session.config, "workerinput"):
        lacks = [reason for what in ("docker", "browser", "caddy") if (reason := _missing(what))]
        if lacks:
            pytest.exit(f"REQUIRE_DOCKER is set, but this machine has {' and '.join(lacks)}", returncode=1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and keep tests that share servers in one process."""
    for what in ("docker", "browser", "caddy"):
        if item.get_closest_marker(what) and (reason := _missing(what)):
            item.add_marker(pytest.mark.skip(reason=reason))
    if item.get_closest_marker("long") and not os.environ.get("LONG_TESTS"):
        item.add_marker(pytest.mark.skip(reason="takes long: LONG_TESTS=1 make test"))
    drives_platform = item.path.relative_to(ROOT).parts[:2] in {("tests", "e2e"), ("tests", "browser")}
    if drives_platform and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(PLATFORM_TIMEOUT_SECONDS))
    if not item.get_closest_marker("xdist_group"):
        folder, below, *_ = item.path.relative_to(ROOT).parts
        group = f"tests/{below}" if folder == "tests" else folder
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """End with a group what its tests share for the session: an idle server takes others' time."""
    in_order = hasattr(item.config, "workerinput")  # else parts of groups come as files do
    if not in_order or nextitem is None or _group(item) == _group(nextitem):
        return None
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
    return True


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else ""
