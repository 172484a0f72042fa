"""The platform without a server of its own: another one, like Prefect Cloud, asks for a key everywhere."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.secret_hunt import FILTERS, assert_hidden
from tests.keyed_server import ACCOUNT, WORKSPACE, KeyedServer, keyed_server
from tests.platforms import (
    Api,
    ComposePlatform,
    LocalPlatform,
    Platform,
    brought_up,
    copy_checkout,
    wait_for,
)

pytestmark = [pytest.mark.timeout(1500), pytest.mark.xdist_group("platform")]
OVERLAY = "COMPOSE_FILE=docker-compose.yaml:deploy/other-server.yaml\n"
SERVICES = {
    "secrets",
    "git-server",
    "yeedu-mock",
    "deployer",
    "worker",
    "rescue",
    "yeedu-watch",
    "warehouse",
    "ready",
}


def gateway_of_containers() -> str:
    """Return this machine's address as containers reach it."""
    of_bridge = ["network", "inspect", "bridge", "--format={{(index .IPAM.Config 0).Gateway}}"]
    return subprocess.check_output(["docker", *of_bridge], text=True).strip()


@pytest.fixture(
    params=[pytest.param("compose", marks=pytest.mark.docker), pytest.param("local", marks=pytest.mark.long)]
)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def keyed(form: str, tmp_path: Path) -> Iterator[KeyedServer]:
    """For containers one like Prefect Cloud, for local processes one behind a company's gateway."""
    is_compose = form == "compose"
    host = gateway_of_containers() if is_compose else "127.0.0.1"
    (tmp_path / "server").mkdir()
    with keyed_server(tmp_path / "server", secrets.token_hex(16), is_cloud=is_compose, host=host) as server:
        yield server


@pytest.fixture
def running(form: str, keyed: KeyedServer, tmp_path: Path) -> Iterator[Platform]:
    checkout = tmp_path / "yeedu-prefect"
    copy_checkout(checkout)
    key = tmp_path / "key"
    key.write_text(f"{keyed.key}\n")
    (checkout / ".env").write_text(f"{OVERLAY}PREFECT_API_URL={keyed.url}\nPREFECT_API_KEY_FILE={key}\n")
    platform = (ComposePlatform if form == "compose" else LocalPlatform)(checkout)
    platform.api = Api(keyed.upstream)
    platform.environment |= {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",  # exported for a command line of the user's own
        "PREFECT_API_KEY": "of-another-server",
    }
    with brought_up(platform, f"other_server_{form}.log", lines=100_000):
        yield platform


def well(platform: Platform) -> subprocess.CompletedProcess[str] | None:
    """Return what `make status` says once all is well: a busy machine's checks of health may come late."""
    done = platform.command(sys.executable, "-m", "local", "status")
    if done.returncode:
        print(done.stdout, done.stderr)
    return None if done.returncode else done


def test_platform_works_with_another_server_and_tells_its_key_nowhere_else(
    form: str, running: Platform, keyed: KeyedServer
) -> None:
    run = running.api.run("run-yeedu-notebook")  # a job has run already, or `up` had failed
    assert run["state_type"] == "COMPLETED", running.api.log(run["id"])
    [worker] = running.api.post("work_pools/yeedu-pool/workers/filter")
    assert worker["status"] == "ONLINE"

    again = running.up()
    ui = f"{keyed.address}/account/{ACCOUNT}/workspace/{WORKSPACE}" if keyed.is_cloud else keyed.address
    assert f"UI               {ui}/deployments" in again
    assert re.search(r"^(First|Last) Yeedu run +Completed", again, re.MULTILINE)  # or a tick
    assert " server " not in again
    status = wait_for("answer of `make status`", lambda: well(running), 240)
    assert status.returncode == 0, status.stdout + status.stderr
    assert "postgres" not in status.stdout
    deployed = running.deploy()
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert f"run-yeedu-job: unchanged  {ui}/deployments/deployment/" in deployed.stdout
    backup = running.command(sys.executable, "-m", "local", "backup")
    where = f"are on {keyed.url}; back them up there\n"
    assert (backup.returncode, backup.stderr) == (1, f"make backup: runs, deployments and blocks {where}")
    running.must(sys.executable, "-m", "local", "drain")

    assert keyed.asked()
    assert keyed.refused() == []
    places = {name: json.dumps(running.api.everything(f"{name}/filter")) for name in FILTERS}
    places |= {"commands": again + status.stdout + deployed.stdout, "logs": running.diagnose(100_000)}
    if isinstance(running, ComposePlatform):
        listed = running.must("docker", "compose", "ps", "--all", "--quiet").split()
        places["docker inspect"] = running.must("docker", "inspect", *listed)
        services = running.must("docker", "compose", "ps", "--all", "--format={{.Service}}").split()
        assert set(services) == SERVICES
    else:
        assert isinstance(running, LocalPlatform)
        places["command lines"] = "\n".join(running.processes())
        assert not (running.checkout / ".local" / "logs" / "server.log").exists()
    assert_hidden({"key": keyed.key, "another key": "of-another-server"}, places)


@pytest.mark.docker
def test_overlay_without_an_address_is_composes_own_sentence(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "yeedu-prefect")
    platform = ComposePlatform(tmp_path / "yeedu-prefect")
    platform.environment.pop("PREFECT_API_URL", None)
    (platform.checkout / ".env").write_text(OVERLAY)
    refused = platform.command("docker", "compose", "up", "--detach")
    assert refused.returncode
    assert "required variable PREFECT_API_URL is missing a value: set it in .env" in refused.stderr
    told = platform.command(sys.executable, "-m", "local", "up")
    assert told.stderr.startswith("make up: COMPOSE_FILE has deploy/other-server.yaml, and .env has no")
    assert not platform.leftovers()
