"""Workers of other machines: attached with one command, they take runs, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from local.processes.supervisor import Supervisor
from tests.platforms import JSON, OUTPUT, Platform, free_port, image, wait_for

# Beside the other tests of the platform, so that all of them share one running platform.
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("platform"), pytest.mark.timeout(600)]

POOL = "attached-pool"
WINDOWS = "create-file-on-windows"


@pytest.fixture
def pool(platform: Platform) -> Iterator[str]:
    with pool_of(platform) as name:
        yield name


@contextmanager
def pool_of(platform: Platform) -> Iterator[str]:
    """Have a work pool like the platform's own, with one deployment, which nobody else works for."""
    api = platform.api
    template = api.get("work_pools/yeedu-pool")["base_job_template"]
    api.post("work_pools/", {"name": POOL, "type": "process", "base_job_template": template})
    original = api.deployments()["run-shell-command"]
    fields = ("flow_id", "entrypoint", "path", "pull_steps", "parameter_openapi_schema")
    copy = {name: original[name] for name in fields}
    deployment = api.post("deployments/", {**copy, "name": POOL, "work_pool_name": POOL})
    yield POOL
    api.delete(f"deployments/{deployment['id']}")
    api.delete(f"work_pools/{POOL}")


def record_of(platform: Platform, name: str) -> JSON | None:
    """Return the server's record of a worker."""
    records = platform.api.post(f"work_pools/{POOL}/workers/filter")
    found = [record for record in records if record["name"] == name]
    assert len(found) <= 1
    return found[0] if found else None


def await_online(platform: Platform, name: str, seconds: float) -> None:
    """Wait until the worker polls."""

    def look() -> bool:
        record = record_of(platform, name)
        return bool(record) and record["status"] == "ONLINE"

    wait_for(f"record of {name}", look, seconds)


def run_on(platform: Platform, name: str) -> None:
    """Run a flow, and see that it ran on the worker of that name."""
    run = platform.api.run(POOL, {"command": "echo it ran on ${WORKER_NAME}"})
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    platform.api.log_with(run["id"], f"it ran on {name}")


def restart_server(platform: Platform) -> None:
    """Restart the platform's Prefect server, and nothing else that is running, between two runs."""
    under_way = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
    wait_for("pause between runs", lambda: not platform.api.post("flow_runs/filter", under_way), 200)
    if platform.kind == "compose":
        platform.must("docker", "compose", "restart", "server")
    else:
        running = Supervisor(platform.checkout / ".local").find("server")
        assert running
        os.kill(running.pid, signal.SIGKILL)  # it is started again

    def is_ready() -> bool:
        try:
            return requests.get(f"{platform.api.url}/ready", timeout=5).ok
        except requests.RequestException:
            return False

    wait_for("restarted server", is_ready, 200)


def mentions(folder: Path) -> list[str]:
    """Return the processes whose command line or environment names the folder."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in said:
                found.append(said.split(b"\0\0")[0].decode(errors="replace"))
    return found


@contextmanager
def output_of(command: list[str], file: Path, cwd: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run a command in the background with its output kept; end it if the test did not."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def test_process_of_this_machine_attaches_works_and_detaches(
    platform: Platform, pool: str, tmp_path: Path
) -> None:
    attach, folder = str(platform.checkout / "worker" / "attach.sh"), tmp_path / "worker"
    options = ["--pool", pool, "--name", "host-worker", "--folder", str(folder)]
    flows = ["--flows-git-url", f"file://{platform.checkout}"]
    yeedu = ["--yeedu-url", f"http://localhost:{platform.mock_port}"]
    command = [attach, "run", "--server", platform.address, *options, *flows, *yeedu]
    with output_of(command, OUTPUT / f"attached-{platform.kind}.log", tmp_path) as worker:
        await_online(platform, "host-worker", 240)
        run_on(platform, "host-worker")
        restart_server(platform)
        run_on(platform, "host-worker")
        status = platform.must(attach, "status", "--folder", str(folder))
        assert "ONLINE" in status
        assert f"{worker.pid}, running" in status
        detached = platform.must(attach, "detach", "--folder", str(folder))
        assert "removed the record of host-worker" in detached
        assert worker.wait(30) == 0
    assert record_of(platform, "host-worker") is None
    assert not folder.exists()
    assert mentions(folder) == []


def test_windows_schedule_is_switched_on_by_one_command_and_stays_on(platform: Platform) -> None:
    def schedule() -> JSON:
        return platform.api.deployments()[WINDOWS]["schedules"][0]

    activate = (sys.executable, "-m", "local", "activate-windows")
    refused = platform.command(*activate)
    assert refused.returncode == 1
    assert "no worker polls windows-pool" in refused.stderr
    before = schedule()
    # What a worker's poll leaves on the server.
    platform.api.post("work_pools/windows-pool/workers/heartbeat", {"name": "windows-box"})
    try:
        assert "its schedules are on, for windows-box" in platform.must(*activate)
        deployed = platform.deploy()
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        assert schedule() == {**before, "active": True, "updated": schedule()["updated"]}
    finally:
        deployment = platform.api.deployments()[WINDOWS]
        platform.api.patch(f"deployments/{deployment['id']}/schedules/{before['id']}", {"active": False})
        platform.api.delete("work_pools/windows-pool/workers/windows-box")


@pytest.mark.docker
def test_container_on_another_network_path_attaches_works_and_detaches(
    platform: Platform, pool: str, tmp_path: Path
) -> None:
    """It is in none of the platform's networks: it has the published port, and a git address of its own."""
    git_port, container = free_port(), f"attached-worker-{platform.port}"
    daemon = ["git", "daemon", "--verbose", "--export-all", f"--port={git_port}", "--listen=127.0.0.1"]
    daemon += [f"--base-path={platform.checkout.parent}", str(platform.checkout)]
    command = ["docker", "run", "--rm", "--network", "host", "--name", container]
    command += ["--volume", f"{platform.checkout}:/checkout:ro", image("worker")]
    command += ["python", "/checkout/worker/attach", "run", "--temporary", "--folder", "/tmp/worker"]
    command += ["--server", platform.address, "--pool", pool, "--name", "container-worker"]
    command += ["--environment", "/opt/venv"]
    command += ["--flows-git-url", f"git://localhost:{git_port}/{platform.checkout.name}/.git"]
    with (
        output_of(daemon, OUTPUT / "attached-git.log", tmp_path),
        output_of(command, OUTPUT / "attached-container.log", tmp_path) as worker,
    ):
        await_online(platform, "container-worker", 90)
        run_on(platform, "container-worker")
        restart_server(platform)
        run_on(platform, "container-worker")
        platform.must("docker", "stop", "--time", "60", container)
        assert worker.wait(60) == 0
    assert record_of(platform, "container-worker") is None
    assert platform.must("docker", "ps", "--all", "--quiet", "--filter", f"name={container}") == ""
