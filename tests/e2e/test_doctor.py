"""`make doctor` on a healthy platform, and on the same one with something wrong."""

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.e2e.secret_hunt import assert_hidden, secrets_of
from tests.platforms import JSON, Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")
T = TypeVar("T")

LOOKED_AT = {
    *("disk", "memory", "processors", "clock", "ports", "engine", "services", "settings", "names", "proxies"),
    *(
        "git",
        "yeedu",
        "server",
        "server-services",
        "versions",
        "schedules",
        "late-runs",
        "stuck-runs",
        "rescue",
    ),
    *("workers", "pools", "queues", "worker-versions", "database", "retention", "backup-age"),
}
AILS = {"pools", "stuck-runs", "versions"}
OF_CONTAINERS = {"checkout", "restarts", "memory-limits", "connections", "dead-rows"}


def examined(platform: Platform, **environment: str) -> tuple[int, list[JSON]]:
    """Return make's exit code, and what was found."""
    command = ("make", "doctor", "JSON=1", f"PYTHON={sys.executable}")
    done = platform.command(*command, environment=environment, timeout_seconds=60)
    found = json.loads(done.stdout)
    assert found["form"] == {"compose": "containers", "local": "processes"}[platform.kind]
    return done.returncode, found["findings"]


def found_in_time(what: str, look: Callable[[list[JSON]], T | None]) -> T:
    """Return the first true answer; fail with what was found last. Each look of a doctor has its time limit,
    within which a busy machine may not have looked at everything; and what is late there is, for a while.
    """
    last: list[JSON] = []
    try:
        return wait_for(what, lambda: look(last), 240, 1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None


def test_a_platform_that_is_well_has_nothing_wrong(platform: Platform) -> None:
    def look(last: list[JSON]) -> list[JSON] | None:
        code, found = examined(platform)
        last[:] = [one for one in found if one["level"] == "WRONG" or "not looked at" in one["text"]]
        assert last or code == 0
        return None if last else found

    found = found_in_time("look without a finding", look)
    expected = LOOKED_AT | (OF_CONTAINERS if platform.kind == "compose" else set())
    assert expected - {one["check"] for one in found} == set()


def test_what_ails_it_is_found_with_its_fix(platform: Platform) -> None:
    platform.api.post("work_pools/", {"name": "nobodys-pool", "type": "process"})
    flow = platform.api.post("flows/", {"name": "nobodys-flow"})["id"]
    body = {"name": "nobodys", "flow_id": flow, "work_pool_name": "nobodys-pool", "entrypoint": "x.py:x"}
    schedules = [{"active": True, "schedule": {"interval": 86400}}]
    deployment = platform.api.post("deployments/", {**body, "schedules": schedules})["id"]
    run = platform.api.post(f"deployments/{deployment}/create_flow_run", {"state": {"type": "PENDING"}})
    newer = platform.checkout / "server" / "guard.py"
    older = newer.read_bytes()
    try:
        newer.write_bytes(older + b"# as after a pull\n")

        def look(last: list[JSON]) -> dict[str, str] | None:
            code, found = examined(platform, RESCUE_PENDING_SECONDS="1")
            wrong: dict[str, str] = {}
            last[:] = [one for one in found if one["level"] == "WRONG"]
            for one in last:
                wrong[one["check"]] = wrong.get(one["check"], "") + str(one)
            assert code != 0
            # A run of the platform's own may be slow to start, too.
            is_found = wrong.keys() == AILS and run["id"] in wrong["stuck-runs"]
            return wrong if is_found else None

        wrong = found_in_time("findings", look)
        assert "no worker polls nobodys-pool" in wrong["pools"]
        assert "worker/attach.sh run --server ADDRESS --pool nobodys-pool" in wrong["pools"]
        assert "server" in wrong["versions"]
    finally:
        newer.write_bytes(older)
        platform.api.delete(f"deployments/{deployment}")
        platform.api.delete(f"flow_runs/{run['id']}")
        platform.api.delete("work_pools/nobodys-pool")


def test_archive_for_support_has_all_logs_and_no_secret(platform: Platform, tmp_path: Path) -> None:
    target = tmp_path / "doctor.tar.gz"
    printed = ""

    def look(last: list[JSON]) -> dict[str, str] | None:
        nonlocal printed
        target.unlink(missing_ok=True)
        done = platform.command(
            "make", "doctor", f"BUNDLE={target}", f"PYTHON={sys.executable}", timeout_seconds=120
        )
        assert f"{target} is for support" in done.stdout, done.stderr
        printed = done.stdout + done.stderr
        with tarfile.open(target) as archive:
            files = [(one.name.partition("/")[2], archive.extractfile(one)) for one in archive]
            parts = {name: file.read().decode() for name, file in files if file}
        last[:] = [{name: text[:400]} for name, text in parts.items() if text.startswith("left out")]
        return None if last else parts

    parts = found_in_time("archive with all parts", look)
    assert {"logs/server.log", "logs/worker.log", "logs/rescue.log", "logs/yeedu-mock.log"} <= parts.keys()
    assert json.loads(parts["health.json"])["server"]["message"] == "OK"
    assert_hidden(secrets_of(platform), {**parts, "what it printed": printed})
