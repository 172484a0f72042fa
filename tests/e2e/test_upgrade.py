"""`make upgrade`: this checkout is the old release, and each new one is the same but for what a test wants.

Whatever goes wrong, the old release runs again by itself, with every flow run, and with secrets that decrypt.
"""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from local.release.version import platform_version
from tests.e2e.test_backup import secret_block
from tests.platforms import (
    JSON,
    ROOT,
    ComposePlatform,
    LocalPlatform,
    Platform,
    brought_up,
    commit,
    copy_checkout,
    wait_for,
)

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("platform")]

OLD = platform_version(ROOT)
GOOD, FAILS_ITS_RUN, FAILS_HALFWAY, NEVER_HEALTHY, BREAKS_A_FLOW = "9.0.0", "9.0.1", "9.0.2", "9.0.3", "9.0.4"
NEWS = ("    print(message)", '    print(f"{message}, of the new release")')
# A migration that changes a table, and then fails where the database is in use: not on the copy of a trial.
HALFWAY = """
        await session.execute(text("ALTER TABLE flow_run ADD COLUMN half_done integer"))
        await session.commit()
        kept = "SELECT 1 FROM pg_database WHERE datname = 'prefect_before_upgrade'"
        if (await session.execute(text(kept))).first():
            raise SystemExit("the migration has failed in the middle")
        await session.rollback()
"""
# Releases come one after the other; this one has all that the good one has.
AFTER = {NEVER_HEALTHY: GOOD}
KEPT = (".local/upgrade/code",)  # as `make upgrade` does it then
MARK = "Prefect {version('prefect')}"
# In place of Postgres' disk one that can be filled.
SMALL_DISK = """
volumes:
  postgres-data:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=700m,uid=999,gid=999,mode=0700"}
"""
# What each release changes, by its version: text in files, in place of other text.
RELEASES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    GOOD: {"flows/print_message.py": NEWS},
    FAILS_ITS_RUN: {
        "flows/run_yeedu_job.py": (
            "    result = operator.execute()",
            '    raise ValueError("of the new release")',
        )
    },
    FAILS_HALFWAY: {
        "server/migrate.py": (MARK, f"{MARK} of the next release"),
        "server/register_block_types.py": (
            "    async with session:\n",
            f"    from sqlalchemy import text\n\n    async with session:{HALFWAY}",
        ),
    },
    NEVER_HEALTHY: {
        # Not needed by the server, so that no trial notices.
        "rescue/src/yeedu_rescue/healthcheck.py": (
            "def main() -> None:",
            "def main() -> None:\n    sys.exit('never')",
        ),
        "docker-compose.yaml": (
            'test: ["CMD", "python3", "-m", "yeedu_rescue.healthcheck"]',
            "start_period: 5s\n      interval: 1s\n      "
            'test: ["CMD", "python3", "-m", "yeedu_rescue.healthcheck"]',
        ),
    },
    BREAKS_A_FLOW: {
        "flows/print_message.py": ("from prefect import flow", "from prefect import flow, no_such_thing")
    },
}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=folder, text=True).strip()


def make_releases(folder: Path) -> Path:
    """Make a repository with the releases, and return a checkout of the old one."""
    origin, checkout = folder / "origin", folder / "yeedu-prefect"
    copy_checkout(origin)
    git(origin, "tag", f"v{OLD}")
    for version, edits in RELEASES.items():
        base = AFTER.get(version, OLD)
        git(origin, "checkout", "--quiet", "-b", f"release-{version}", f"v{base}")
        for file in (*origin.glob("docker-compose*.yaml"), *origin.glob("VERSION")):
            text = file.read_text(encoding="utf-8").replace(f"VERSION:-{base}", f"VERSION:-{version}")
            file.write_text(f"{version}\n" if file.name == "VERSION" else text, encoding="utf-8")
        for name, (old, new) in edits.items():
            text = (origin / name).read_text(encoding="utf-8")
            assert old in text, (version, name)
            (origin / name).write_text(text.replace(old, new), encoding="utf-8")
        commit(origin, f"Release {version}")
        git(origin, "tag", f"v{version}")
    git(origin, "checkout", "--quiet", "main")
    git(folder, "clone", "--quiet", str(origin), str(checkout))
    return checkout


def prepare(platform: Platform) -> None:
    """Let the version be the checkout's, as a user has it."""
    del platform.environment["PLATFORM_VERSION"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    platform = LocalPlatform(make_releases(tmp_path_factory.mktemp("upgrade")))
    prepare(platform)
    with brought_up(platform, "upgrade-local.log") as running:
        yield running


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposePlatform]:
    platform = ComposePlatform(make_releases(tmp_path_factory.mktemp("upgrade")))
    prepare(platform)
    (platform.checkout / "docker-compose.override.yaml").write_text(SMALL_DISK, encoding="utf-8")
    platform.environment["POSTGRES_MEMORY"] = "2g"
    with brought_up(platform, "upgrade-compose.log") as running:
        disk = f"{running.environment['COMPOSE_PROJECT_NAME']}_postgres-data:/held:ro"
        # A tmpfs goes when nothing uses it, and Compose stops Postgres while it makes `secrets` anew.
        holder = running.must(
            *(
                "docker",
                "run",
                "--detach",
                "--rm",
                "--init",
                "--volume",
                disk,
                "postgres:17",
                "sleep",
                "infinity",
            )
        ).strip()
        try:
            yield running
        finally:
            running.must("docker", "rm", "--force", holder)
    prefix = running.environment["IMAGE_PREFIX"]
    made = [f"{prefix}-{name}:{version}" for name in IMAGES for version in (OLD, *RELEASES)]
    subprocess.run(["docker", "image", "rm", *made], capture_output=True, check=False)


IMAGES = ("server", "git-server", "yeedu-mock", "deployer", "worker", "rescue")


class State:
    """What has to be as it was, whatever becomes of an upgrade."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.commit = git(platform.checkout, "rev-parse", "HEAD")
        secret_block(platform, f"upgrade-{time.time_ns()}", "decrypts")
        self.blocks = self._blocks()
        self.runs = self._runs()

    def _blocks(self) -> list[str]:
        found = self._platform.api.everything("block_documents/filter")
        return sorted(one["name"] for one in found if one["name"].startswith("upgrade-"))

    def _runs(self) -> dict[str, JSON]:
        runs = self._platform.api.everything("flow_runs/filter", {"sort": "ID_DESC"})
        return {run["id"]: run for run in runs}

    def check_kept(self) -> None:
        """Fail unless every flow run and secret is there, and no tick was run twice."""
        api = self._platform.api
        for name in self.blocks:
            assert secret_block(self._platform, name) == "decrypts"
        now = self._runs()
        ended = {key for key, run in self.runs.items() if run["state_type"] in {"COMPLETED", "FAILED"}}
        shown = ("name", "deployment_id", "auto_scheduled", "expected_start_time", "state_name")
        assert [{name: self.runs[key][name] for name in shown} for key in ended - now.keys()] == []
        assert {key: now[key]["state_type"] for key in ended} == {
            key: self.runs[key]["state_type"] for key in ended
        }
        ticks = Counter(
            (run["deployment_id"], run["expected_start_time"])
            for run in now.values()
            if run["auto_scheduled"]
        )
        assert {tick: count for tick, count in ticks.items() if count > 1} == {}
        paused = [one["name"] for one in api.post("work_queues/filter") if one["is_paused"]]
        assert paused == []

    def check_back(self, version: str = OLD) -> None:
        """Fail unless the old release runs again, from its own files, and nothing is left of the other."""
        platform = self._platform
        assert git(platform.checkout, "rev-parse", "HEAD") == self.commit
        assert git(platform.checkout, "status", "--porcelain", "--untracked-files=no") == ""
        assert platform.api.get("health/services")["platform"] == version
        assert not (platform.checkout / ".local/upgrade/journal.json").exists()
        for name in ("release", "code"):
            assert not (platform.checkout / ".local/upgrade" / name).exists()
        runs = platform.api.everything("flow_runs/filter")
        assert [run["name"] for run in runs if run["name"].startswith("smoke-of-")] == []
        queues = {one["name"] for one in platform.api.post("work_queues/filter")}
        assert "make-upgrade-smoke-run" not in queues
        self.check_kept()
        run = platform.api.run("print-message", {"message": "well again"})
        assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
        assert "of the new release" not in platform.api.log(run["id"])


def upgrade(
    platform: Platform,
    *arguments: str,
    at: str = "",
    then: Callable[[subprocess.Popen[str]], None] | None = None,
    programs: Sequence[str] = ("-m", "local"),
) -> tuple[int, str]:
    """Run `make upgrade`; when it prints a text, do something. Return its exit code and what it printed."""
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, *programs, "upgrade", *arguments],
        cwd=platform.checkout,
        env=platform.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if then and at in line:
                then(process)
                then = None
    assert then is None, f"it never said {at!r}:\n{''.join(said)}"
    assert "Traceback" not in "".join(said), "".join(said)
    return process.returncode, "".join(said)


def last_line(said: str) -> str:
    return said.strip().splitlines()[-1]


def tick(platform: Platform, seconds: int) -> str:
    """Have a deployment that is due every so many seconds, each time; return its id."""
    of = platform.api.deployments()["print-message"]
    same = ("flow_id", "work_pool_name", "entrypoint", "pull_steps", "parameters")
    schedule = {"interval": seconds, "anchor_date": "2026-01-01T00:00:00+00:00"}
    body = {key: of[key] for key in same} | {"name": "ticking", "tags": ["catch-up:all"]}
    return platform.api.post("deployments/", {**body, "schedules": [{"schedule": schedule, "active": True}]})[
        "id"
    ]


def check_ticks(platform: Platform, deployment: str, seconds: int, since: datetime) -> None:
    """Fail unless each tick since then has exactly one run, which has Completed or is yet to come."""
    body = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    until = datetime.now(since.tzinfo)

    def due() -> list[JSON]:
        runs = platform.api.everything("flow_runs/filter", body)
        return [run for run in runs if since <= datetime.fromisoformat(run["expected_start_time"]) <= until]

    def all_ended() -> bool:
        return all(run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} for run in due())

    wait_for("end of every tick", all_ended, 200)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in due()]
    assert len(times) > 2
    assert times == [times[0] + timedelta(seconds=seconds * number) for number in range(len(times))]
    assert {run["state_type"] for run in due()} == {"COMPLETED"}


def upgrade_with_runs_in_flight(platform: Platform) -> str:
    """Upgrade while ticks are due and two runs are in flight: one that ends in time, one that does not."""
    state, since = State(platform), datetime.now().astimezone()
    ticking = tick(platform, 10)
    flights: list[str] = []

    def start(_: subprocess.Popen[str]) -> None:
        commands = ("sleep 12; echo short", "sleep 35; echo long")
        flights.extend(platform.api.start("run-shell-command", {"command": one}) for one in commands)
        for flight in flights:
            wait_for(
                "run in flight",
                lambda run=flight: platform.api.get(f"flow_runs/{run}")["state_type"] == "RUNNING",
                60,
            )

    code, said = upgrade(platform, "--version", GOOD, at="can plan", then=start)
    assert code == 0, said
    assert last_line(said).startswith(f"{GOOD} runs. Backup of {OLD}: backups/before-{GOOD}-"), said
    assert platform.api.get("health/services")["platform"] == GOOD
    assert git(platform.checkout, "rev-parse", "HEAD") == git(platform.checkout, "rev-parse", f"v{GOOD}")
    run = platform.api.run("print-message", {"message": "hello"})
    assert "hello, of the new release" in platform.api.log_with(run["id"], "hello")
    for flight in flights:
        assert platform.api.finished(flight)["state_type"] == "COMPLETED"
    history = platform.api.get(f"flow_run_states/?flow_run_id={flights[1]}")
    assert any("handed over:" in (one["message"] or "") for one in history), history
    assert "Crashed" not in {one["name"] for one in history}
    check_ticks(platform, ticking, 10, since)
    platform.api.delete(f"deployments/{ticking}")
    state.check_kept()
    return said


# --- as local processes ---


@pytest.mark.long
def test_local_processes_go_back_by_themselves(local: LocalPlatform) -> None:
    state = State(local)
    code, said = upgrade(local, "--version", FAILS_ITS_RUN)
    assert code == 1
    assert last_line(said).startswith("make upgrade: the smoke run of run-yeedu-job ended Failed: "), said
    assert last_line(said).endswith(
        f"; {OLD} runs again, with its data as it was; log: .local/upgrade/upgrade.log"
    )
    state.check_back()


@pytest.mark.long
def test_local_processes_go_to_the_new_release_with_runs_in_flight(local: LocalPlatform) -> None:
    state = State(local)
    print(upgrade_with_runs_in_flight(local))
    code, said = upgrade(local, "--version", OLD)
    assert (code, "restore a backup that" in said) == (1, True), said
    state.check_kept()


@pytest.mark.long
def test_a_local_upgrade_that_was_killed_is_undone_by_the_next(local: LocalPlatform) -> None:
    before = git(local.checkout, "rev-parse", "HEAD")
    version = local.api.get("health/services")["platform"]
    assert version == GOOD
    state = State(local)
    code, said = upgrade(
        local, "--version", NEVER_HEALTHY, at="the checkout's files are", then=subprocess.Popen.kill
    )
    assert code == -signal.SIGKILL, said
    refused = local.command(sys.executable, "-m", "local", "up")
    assert refused.stderr.startswith(
        f"make up: an upgrade to {NEVER_HEALTHY} was interrupted; `make upgrade` undoes"
    )
    code, said = upgrade(local, programs=KEPT)
    assert (code, f"{GOOD} runs again" in last_line(said)) == (1, True), said
    assert git(local.checkout, "rev-parse", "HEAD") == before
    state.check_kept()


# --- in containers ---


def refused(platform: Platform, version: str) -> str:
    """Return the sentence by which an upgrade ends that has touched nothing."""
    code, said = upgrade(platform, "--version", version)
    assert code == 1, said
    assert "switch " not in said
    return last_line(said)


@pytest.mark.docker
@pytest.mark.long
def test_a_release_that_breaks_a_flow_is_not_switched_to(compose: ComposePlatform) -> None:
    state = State(compose)
    assert "flows/print_message.py" in refused(compose, BREAKS_A_FLOW)
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
def test_a_dry_run_tries_all_and_changes_nothing(compose: ComposePlatform) -> None:
    state = State(compose)
    started = compose.must(
        "docker", "inspect", "--format", "{{.State.StartedAt}}", compose.container("server")
    )
    code, said = upgrade(compose, "--version", GOOD, "--dry-run")
    assert (code, last_line(said)) == (
        0,
        f"{GOOD} can take the place of {OLD}; make upgrade without DRY_RUN=1 does it",
    ), said
    now = compose.must("docker", "inspect", "--format", "{{.State.StartedAt}}", compose.container("server"))
    assert now == started
    trial = f"{compose.environment['COMPOSE_PROJECT_NAME']}-upgrade-trial"
    for listing in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert trial not in compose.must("docker", *listing)
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
def test_a_migration_that_fails_in_the_middle_is_undone(compose: ComposePlatform) -> None:
    state = State(compose)
    code, said = upgrade(compose, "--version", FAILS_HALFWAY)
    assert code == 1
    assert "the database is as it was before" in said, said
    assert f"{OLD} runs again, with its data as it was" in last_line(said)
    assert (
        compose.sql("SELECT count(*) FROM information_schema.columns WHERE column_name = 'half_done'")
        == "0\n"
    )
    assert "prefect_" not in compose.sql("SELECT datname FROM pg_database")
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
def test_a_full_disk_leaves_everything_as_it_was(compose: ComposePlatform) -> None:
    folder = "/var/lib/postgresql/data"
    state = State(compose)

    def fill(_: subprocess.Popen[str]) -> None:
        """Leave less than the copy of the database takes."""
        free = int(compose.inside("postgres", "df", "--output=avail", "-k", folder).split()[1])
        compose.inside("postgres", "fallocate", "-l", f"{free - 6000}k", f"{folder}/filler")

    try:
        code, said = upgrade(compose, "--version", GOOD, at="queues are paused", then=fill)
    finally:
        compose.inside("postgres", "rm", "-f", f"{folder}/filler")
    assert code == 1
    assert "No space left on device" in last_line(said), said
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
def test_an_image_that_never_gets_healthy_is_undone(compose: ComposePlatform) -> None:
    state = State(compose)
    code, said = upgrade(compose, "--version", NEVER_HEALTHY)
    assert code == 1
    assert last_line(said).startswith(
        "make upgrade: rescue: unhealthy; the last lines of its log are above; "
    ), said
    assert f"the database is as it was before {NEVER_HEALTHY} was started" in said
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_upgrade_that_is_cut_off_in_its_switch_is_undone(
    compose: ComposePlatform, how: signal.Signals
) -> None:
    state = State(compose)
    code, said = upgrade(
        compose,
        *("--version", GOOD),
        at="the checkout's files are",
        then=lambda process: process.send_signal(how),
    )
    if how is signal.SIGKILL:
        assert code == -signal.SIGKILL, said
        assert (
            json.loads((compose.checkout / ".local/upgrade/journal.json").read_text())["phase"] == "switching"
        )
        code, said = upgrade(compose, programs=KEPT)
        assert f"an upgrade to {GOOD} was interrupted; {OLD} runs again, with its data" in last_line(said), (
            said
        )
    else:
        assert "make upgrade: interrupted; " in last_line(said), said
    assert code == 1
    state.check_back()


@pytest.mark.docker
@pytest.mark.long
def test_containers_go_to_the_new_release_with_runs_in_flight(compose: ComposePlatform) -> None:
    print(upgrade_with_runs_in_flight(compose))
    assert "restore a backup that" in refused(compose, OLD)
    compose.down()
    compose.up()
    assert compose.api.get("health/services")["platform"] == GOOD
