"""Machines without any network, on which a bundle is all there is: both forms come up and run Yeedu jobs."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.release.make_release import git
from local.release.version import platform_version
from tests.machines import machine
from tests.platforms import OUTPUT, ComposePlatform, copy_checkout

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("platform"),
]
# As docs/offline.md says it.
INSTALL = f"""
set -e
! python3 -c 'import socket; socket.create_connection(("192.0.2.1", 443), 1)' 2>/dev/null
tar -xf /bundle.tar
yeedu-prefect-{platform_version()}/install.sh
cd yeedu-prefect
make up
make status
"""
# What any container with an engine in it does first: in cgroup v2, only leaves have processes.
ENGINE = """
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/init
  xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
  sed -e 's/ / +/g' -e 's/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
dockerd >/tmp/dockerd.log 2>&1 &
timeout 60 sh -c 'until docker info >/dev/null 2>&1; do sleep 0.2; done' || { cat /tmp/dockerd.log; exit 1; }
[ -z "$(docker image ls --quiet)" ]
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle of this checkout, with the images that all platforms under test share."""
    checkout = tmp_path_factory.mktemp("bundle") / "yeedu-prefect"
    copy_checkout(checkout)
    platform = ComposePlatform(checkout)
    done = platform.command("make", "bundle", "PYTHONS=3.13", timeout_seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr
    target = checkout / "build" / f"yeedu-prefect-{platform_version()}.tar"
    assert done.stdout.splitlines()[-1] == str(target)
    assert git(checkout, "status", "--porcelain") == ""
    assert [file.name for file in target.parent.iterdir()] == [target.name]
    yield target
    target.unlink()


def run_without_network(kind: str, bundle: Path, script: str, *options: str) -> str:
    """Run a script on a machine that has the bundle and nothing else; return what it says."""
    name = f"yeedu-prefect-test-offline-{kind}"
    command = ["docker", "run", "--rm", "--init", "--name", name, "--network", "none"]
    command += ["--volume", f"{bundle}:/bundle.tar:ro", *options, machine(kind), "bash", "-c", script]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900
        )
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"offline-{kind}.log").write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def test_local_processes_come_up_from_the_bundle(bundle: Path) -> None:
    said = run_without_network("plain", bundle, INSTALL)
    assert "starting the platform as local processes" in said
    assert "First Yeedu run  Completed" in said
    services = [line.split()[:2] for line in said.splitlines()]
    for service in ("server", "worker", "rescue", "warehouse", "yeedu-mock"):
        assert [service, "healthy"] in services, said[-4000:]


def test_containers_come_up_from_the_bundle(bundle: Path) -> None:
    script = ENGINE + INSTALL + "make up | tee /tmp/again && ! grep -E 'loading|building|pulling' /tmp/again"
    said = run_without_network("engine", bundle, script, "--privileged")
    assert "starting the platform in containers" in said
    assert "images: loading the bundle's; building and pulling none" in said
    assert "First Yeedu run  Completed" in said
    assert "run-yeedu-job: in step" in said


def test_bundle_that_was_cut_short_is_refused(bundle: Path, tmp_path: Path) -> None:
    """As after a download that broke: whatever of it can be unpacked, nothing is installed."""
    subprocess.run(["tar", "-xf", bundle], cwd=tmp_path, check=True)
    folder = tmp_path / f"yeedu-prefect-{platform_version()}"
    [images] = folder.glob("images.tar.*")
    with images.open("r+b") as stream:
        stream.truncate(images.stat().st_size // 2)
    done = subprocess.run([folder / "install.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"install.sh: {folder} is damaged: {images.name}: FAILED")
    assert not (tmp_path / "yeedu-prefect").exists()
