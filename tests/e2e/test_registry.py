"""A registry that has a release's images: they are pulled from there, and none is built."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import docker, machine
from tests.platforms import IMAGES, ComposePlatform, copy_checkout, image, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("platform"),
]
OWN = ("server", "git-server", "yeedu-mock", "deployer", "worker", "rescue")


@pytest.fixture
def registry() -> Iterator[str]:
    """The name of an empty registry on loopback, to which Docker talks without TLS."""
    container = docker("run", "--detach", "--publish", "127.0.0.1::5000", machine("registry")).strip()
    try:
        yield f"localhost:{docker('port', container, '5000/tcp').strip().rpartition(':')[2]}"
    finally:
        docker("rm", "--force", "--volumes", container)


@pytest.fixture
def platform_of_registry(tmp_path: Path, registry: str) -> Iterator[ComposePlatform]:
    """A platform of a checkout that could not be built, and that has no image of its own."""
    checkout = tmp_path / "yeedu-prefect"
    copy_checkout(checkout)
    platform = ComposePlatform(checkout)
    platform.must("docker", "compose", "build", "--quiet", timeout_seconds=900)
    for service in OWN:
        there = f"{registry}/{image(service)}"
        docker("tag", image(service), there)
        docker("push", "--quiet", there, timeout_seconds=300)
        docker("image", "rm", there)
    for dockerfile in checkout.glob("*/Dockerfile"):
        dockerfile.write_text("FROM scratch\nRUN this is not built\n")
    platform.environment["PLATFORM_REGISTRY"] = registry
    try:
        yield platform
    finally:
        platform.remove()
        pulled = [f"{registry}/{image(service)}" for service in OWN]
        docker("image", "rm", "--force", *pulled)


def test_what_is_missing_is_pulled_and_nothing_is_built(
    platform_of_registry: ComposePlatform, registry: str
) -> None:
    platform = platform_of_registry
    missing = {**platform.environment, "PLATFORM_VERSION": "0.0.1"}
    refused = platform.command("docker", "compose", "up", "--detach", environment=missing)
    assert refused.returncode
    assert "not found" in refused.stderr, "and not what a build says"
    assert not platform.leftovers() or not platform.command("docker", "compose", "ps", "--quiet").stdout

    said = platform.up()
    assert f"images: pulling from {registry} what is missing; building none" in said
    assert "run-yeedu-job          Completed" in said
    names = json.loads(platform.must("docker", "compose", "config", "--format", "json"))["services"]
    for service in ("server", "worker", "rescue", "git-server", "yeedu-mock"):
        used = docker("inspect", "--format={{.Config.Image}}", platform.container(service)).strip()
        assert used == names[service]["image"]
        assert used.startswith(f"{registry}/{IMAGES['IMAGE_PREFIX']}-")

    containers = platform.must("docker", "compose", "ps", "--quiet")
    platform.must("docker", "compose", "up", "--detach")  # as without make
    assert platform.must("docker", "compose", "ps", "--quiet") == containers
    platform.must("docker", "compose", "pull", "--quiet", "worker")
    wait_for("deployments", platform.api.deployments, 30)
