"""The commands of the pages, typed as they stand there, on both forms of the platform.

Pages are gone through at the same time, each from its first command to its last: a command needs two seconds
or three to import Prefect. That one failed is told by the test that has its name.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.commands import EXPECTED, GREET, LIMIT, ONLY, OTHER_POOL, POOL, PRINT, QUEUE, TAG, Done
from tests.pages import PAGES, blocks, commands
from tests.platforms import Platform
from tests.prefect_process import empty_database

pytestmark = [pytest.mark.long_locally, pytest.mark.xdist_group("platform")]

ALL = [(page, command) for page in PAGES for command in commands(page) if command in EXPECTED]
BIN = Path(sys.executable).parent
IN_CONTAINERS = "docker compose exec worker with-secrets prefect "
LOCALLY = "PREFECT_API_URL=http://localhost:8080/api .venv/bin/prefect "
Outcomes = dict[tuple[str, str], str]


def as_typed(platform: Platform, command: str) -> str:
    """Return what the reader of a page types for a command: pages write `prefect` for one of two things."""
    command = re.sub("^prefect ", IN_CONTAINERS, command)
    if platform.kind == "local":
        command = command.replace(IN_CONTAINERS, LOCALLY)
    own_names = {
        ".venv/bin/": f"{BIN}/",
        "http://localhost:8080": platform.address,
        "https://github.com/YOUR_TEAM/yeedu-prefect.git": platform.checkout.as_uri(),
    }
    for name, own in own_names.items():
        command = command.replace(name, own)
    if "SCHEDULE_ID" in command:
        [found] = [one for one in platform.api.deployments()[PRINT]["schedules"] if "8-17" in str(one)]
        command = command.replace("SCHEDULE_ID", found["id"])
    return command


def environment(platform: Platform, home: Path) -> dict[str, str]:
    """Return the variables of a reader's shell: Prefect's profile and results are in a folder of its own."""
    ours = {name: value for name, value in platform.environment.items() if not name.startswith("PREFECT_API")}
    patience = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "170"}  # as docs/own-machine.md says
    return {**ours, **patience, "PREFECT_HOME": str(home), "COLUMNS": "200"}


def own_job(platform: Platform, command: str) -> dict[str, str]:
    """Name a job for a flow that is run by hand; the deployer, which hears of it too, would register it."""
    path = "tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/spark/job/101"
    is_by_hand = " flows/" in command
    return {"YEEDU_JOB_URL": f"http://localhost:{platform.mock_port}/{path}"} if is_by_hand else {}


def try_command(platform: Platform, page: str, command: str, home: Path) -> str:
    """Type a command; return what is wrong with what it did, or nothing."""
    if ONLY.get(command, platform.kind) != platform.kind:
        return ""
    began = datetime.now(UTC)
    done = subprocess.run(
        ["bash", "-c", as_typed(platform, command)],
        cwd=platform.checkout,
        env=environment(platform, home) | own_job(platform, command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    output = done.stdout + done.stderr
    if done.returncode:
        return f"left with {done.returncode}:\n{output}"
    try:
        ok = EXPECTED[command](Done(platform, " ".join(output.split()), began))
    except Exception as error:  # noqa: BLE001 - of whatever kind, it is this command's
        return f"{error!r} after:\n{output}"
    return "" if ok else f"did not do what {page} says:\n{output}"


def undo(platform: Platform) -> None:
    """Remove what pages leave behind, and what they would have removed had they come to their end."""
    deployments = platform.api.deployments()
    for schedule in deployments[PRINT]["schedules"]:
        if not schedule["slug"]:
            platform.api.delete(f"deployments/{deployments[PRINT]['id']}/schedules/{schedule['id']}")
    for path in (
        f"deployments/{deployments.get(GREET, {}).get('id')}",
        QUEUE,
        f"{POOL}/queues/greetings",
        TAG,
        LIMIT,
    ):
        platform.api.ask("DELETE", path)
    platform.api.patch(OTHER_POOL, {"is_paused": False})
    platform.api.patch(POOL, {"concurrency_limit": None})


@pytest.fixture(scope="module")
def outcomes(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Go through all pages; what is wrong with each command."""
    for page in PAGES:
        for block in blocks(page, "python"):
            for name in re.findall(r"(?m)^    (\w+)\(\)$", block):
                (platform.checkout / f"{name}.py").write_text(block, encoding="utf-8")

    def go_through(page: str) -> Outcomes:
        home = tmp_path_factory.mktemp("home")
        shutil.copy(
            empty_database(), home / "prefect.db"
        )  # half a minute's work, for flows without the platform
        mine = [command for of, command in ALL if of == page]
        return {(page, command): try_command(platform, page, command, home) for command in mine}

    try:
        # Local processes have SQLite, which does not bear three at once on a busy machine.
        with ThreadPoolExecutor(max_workers=3 if platform.kind == "compose" else 1) as readers:
            yield {key: value for found in readers.map(go_through, PAGES) for key, value in found.items()}
    finally:
        undo(platform)


@pytest.mark.parametrize(("page", "command"), ALL, ids=[f"{page}: {command}" for page, command in ALL])
def test_command_does_what_its_page_says(outcomes: Outcomes, page: str, command: str) -> None:
    assert not outcomes[page, command], outcomes[page, command]


def test_a_plain_prefect_worker_runs_these_flows_in_a_pool_of_its_own(
    platform: Platform, tmp_path: Path
) -> None:
    create, start, delete = (one for one in commands("docs/pools.md") if "plain-pool" in one)
    own = environment(platform, tmp_path)
    here = {"cwd": platform.checkout, "env": own}
    subprocess.run(["bash", "-c", as_typed(platform, create)], **here, check=True, capture_output=True)
    model = platform.api.deployments()[PRINT]
    copied = ("flow_id", "entrypoint", "pull_steps", "parameter_openapi_schema")
    body = {"name": "plain", "work_pool_name": "plain-pool", **{field: model[field] for field in copied}}
    plain = platform.api.post("deployments/", body)
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            ["bash", "-c", f"exec env {as_typed(platform, start)}"], **here, stdout=log, stderr=log
        )
        try:
            run = platform.api.run("plain", {"message": "from a plain worker"})
        finally:
            worker.terminate()
            worker.wait(timeout=60)
            platform.api.delete(f"deployments/{plain['id']}")
            subprocess.run(
                ["bash", "-c", as_typed(platform, delete)], **here, check=True, capture_output=True
            )
    assert run["state_type"] == "COMPLETED", (tmp_path / "log").read_text()
    assert platform.api.ask("GET", "work_pools/plain-pool").status_code == 404
