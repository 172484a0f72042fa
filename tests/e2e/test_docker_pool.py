"""The steps of docs/docker-pool.md: a docker pool, its worker on the host, a container for each run."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from local.release.version import platform_version
from tests.environments import Published, environment_or_skip
from tests.platforms import ROOT, ComposePlatform, commit, image, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("platform"),
]
PAGE = (ROOT / "docs" / "docker-pool.md").read_text(encoding="utf-8")
POOLS, DEPLOYMENTS = "deployer/work-pools.yaml", "deployer/prefect.yaml"
POOL, DEPLOYMENT = "docker-pool", "run-shell-command-in-container"


def shown(kind: str, holds: str) -> str:
    """Return the page's only block of a kind that holds a text."""
    (block,) = [found for found in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S) if holds in found]
    return block


@pytest.fixture(scope="module")
def worker_environment() -> Path:
    """An environment with what the page installs, at the version of Prefect that is locked."""
    (docker_version,) = set(re.findall(r"prefect-docker==([\d.]+)", PAGE))
    requirements = (f"prefect-docker=={docker_version}", f"prefect=={version('prefect')}")
    assert f"prefect=={version('prefect')}" in PAGE
    return environment_or_skip(Published("prefect-docker", requirements))


@pytest.fixture
def with_pool(platform: ComposePlatform) -> Iterator[ComposePlatform]:
    """The platform with the pool and the deployment of the page, which are gone afterwards."""
    before = {file: (platform.checkout / file).read_text(encoding="utf-8") for file in (POOLS, DEPLOYMENTS)}
    network = f"{platform.environment['COMPOSE_PROJECT_NAME']}_platform"
    added = {POOLS: shown("yaml", "type: docker"), DEPLOYMENTS: shown("yaml", "work_pool:")}
    for file, text in before.items():
        new = f"{text}\n{added[file]}".replace("yeedu-prefect_platform", network)
        new = new.replace(f"yeedu-prefect-worker:{platform_version()}", image("worker"))
        (platform.checkout / file).write_text(new, encoding="utf-8")
    commit(platform.checkout, "Add a docker pool")
    deployed = platform.deploy()
    try:
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield platform
    finally:
        for file, text in before.items():
            (platform.checkout / file).write_text(text, encoding="utf-8")
        commit(platform.checkout, "Take the docker pool away")
        platform.deploy()
        platform.api.delete(f"work_pools/{POOL}")


@pytest.fixture
def docker_worker(
    with_pool: ComposePlatform, worker_environment: Path, tmp_path: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """The worker of the page, on the host."""
    command = re.findall(r"prefect worker start [^\n]*", PAGE)[0].split()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_API_URL": with_pool.api.url, "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(worker_environment / "bin" / command[0]), *command[1:]],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:

        def polls() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return bool(with_pool.api.post(f"work_pools/{POOL}/workers/filter"))

        wait_for("docker worker", polls, 200)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        print((tmp_path / "log").read_text())


def containers_of(run_id: str) -> list[str]:
    listing = ["docker", "ps", "--all", "--quiet", f"--filter=label=io.prefect.flow-run-id={run_id}"]
    return subprocess.check_output(listing, text=True).split()


def test_a_run_has_a_container_of_its_own_which_is_removed(
    with_pool: ComposePlatform, docker_worker: "subprocess.Popen[bytes]"
) -> None:
    api = with_pool.api
    assert api.get(f"work_pools/{POOL}")["type"] == "docker"
    assert api.deployments()[DEPLOYMENT]["job_variables"] == {"image": image("worker")}
    command = "hostname; echo held; while [ ! -e /tmp/go ]; do sleep 0.2; done"
    run_id = api.start(DEPLOYMENT, {"command": command})

    (container,) = wait_for("container of the run", lambda: containers_of(run_id), 200)
    api.log_with(run_id, "held")
    (facts,) = json.loads(subprocess.check_output(["docker", "inspect", container], text=True))
    assert facts["Config"]["Image"] == image("worker")
    assert not facts["HostConfig"]["Privileged"]
    assert not facts["HostConfig"]["Binds"]
    subprocess.run(["docker", "exec", container, "touch", "/tmp/go"], check=True)

    run = api.finished(run_id)
    assert run["state_type"] == "COMPLETED", api.log(run_id)
    assert facts["Config"]["Hostname"] in api.log(run_id)
    wait_for("end of the container", lambda: not containers_of(run_id), 90)
