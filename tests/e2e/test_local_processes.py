"""The platform as local processes, from a checkout with an awkward path and a private umask."""

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes.record import Record
from local.processes.supervisor import Supervisor
from tests.platforms import LocalPlatform, brought_up, copy_checkout, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(420), pytest.mark.xdist_group("platform")]

SERVICES = ("server", "yeedu-mock", "warehouse", "rescue", "yeedu-watch", "worker")
FLOW = "flows/print_message.py"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    checkout = tmp_path_factory.mktemp("own") / "the team's platform"
    before = os.umask(0o077)
    try:
        copy_checkout(checkout)
        for file in [checkout, *checkout.rglob("*")]:  # as git makes them
            file.chmod(file.stat().st_mode & 0o700)
        with brought_up(LocalPlatform(checkout), "private.log") as running:
            yield running
    finally:
        os.umask(before)


def processes(platform: LocalPlatform) -> dict[str, Record]:
    supervisor = Supervisor(platform.checkout / ".local")
    found = {name: supervisor.find(name) for name in SERVICES}
    return {name: record for name, record in found.items() if record}


def status(platform: LocalPlatform) -> dict[str, str]:
    """Return what `make status` says of each service."""
    said = platform.command(sys.executable, "-m", "local", "status").stdout
    return {line.split()[0]: line for line in said.partition("\n\n")[0].splitlines()}


def test_it_comes_up_and_runs_a_flow(private: LocalPlatform) -> None:
    said = status(private)
    assert {name: line.split()[1] for name, line in said.items()} == dict.fromkeys(SERVICES, "healthy")
    assert not any("restarted" in line for line in said.values())


def test_no_other_user_and_no_other_process_is_told_a_secret(private: LocalPlatform) -> None:
    state = private.checkout / ".local"
    secrets = {file.read_bytes() for file in (state / "secrets").glob("*/*")} - {b""}
    assert len(secrets) > 3
    supervisord = (state / "supervisord.pid").read_text().strip()
    places = [state / "supervisord.conf", state / "supervisord.log", Path(f"/proc/{supervisord}/environ")]
    for file in [*places, *(state / "processes").iterdir()]:
        content = file.read_bytes()
        assert not any(secret in content for secret in secrets), file
    for file in [state, state / "supervisor.sock", *state.iterdir()]:
        assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file


def test_each_service_that_is_killed_is_started_again_and_says_why(private: LocalPlatform) -> None:
    before = processes(private)
    assert before.keys() == set(SERVICES)
    for record in before.values():
        os.kill(record.pid, signal.SIGKILL)

    def all_anew() -> bool:
        now = processes(private)
        return now.keys() == before.keys() and all(now[name].pid != before[name].pid for name in before)

    wait_for("restart of every service", all_anew, 60)

    def all_well() -> dict[str, str]:
        said = status(private)
        return said if all(line.split()[1] == "healthy" for line in said.values()) else {}

    said = wait_for("healthy services", all_well, 180)
    for name in SERVICES:
        assert "restarted: terminated by SIGKILL at " in said[name], said[name]
    run = private.api.run("print-message", {"message": "after the storm"})
    assert run["state_type"] == "COMPLETED", private.api.log(run["id"])


def test_one_wrong_flow_file_leaves_the_platform_with_its_worker(private: LocalPlatform) -> None:
    private.must(sys.executable, "-m", "local", "drain")
    assert "worker" not in processes(private)
    private.edit(FLOW, "def print_message(", "def print_messages(")  # of which prefect.yaml knows nothing
    done = private.command(sys.executable, "-m", "local", "up")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("make up: deployer: exited with code 1; the last lines of")
    assert FLOW in done.stdout.rpartition(" healthy")[2]  # the deployer's sentence, after all the others
    assert "Traceback" not in done.stdout + done.stderr
    assert status(private)["worker"].split()[1] == "healthy"
    run = private.api.run("run-shell-command")  # of a file that is as it was
    assert run["state_type"] == "COMPLETED", private.api.log(run["id"])
    private.edit(FLOW, "def print_messages(", "def print_message(")
    private.up()


def test_what_a_killed_supervisor_left_is_taken_over_by_the_next_up(private: LocalPlatform) -> None:
    before = processes(private)
    supervisord = int((private.checkout / ".local" / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    private.up()
    after = processes(private)
    assert after.keys() == before.keys()
    assert {record.pid for record in before.values()}.isdisjoint(record.pid for record in after.values())
