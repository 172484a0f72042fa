"""Several API servers on a Docker Swarm of three nodes: one of them goes with its node, the API does not."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.test_swarm import assert_each_ended_once, start, tell
from tests.machines import machine
from tests.platforms import ComposePlatform, copy_checkout, scaled_settings, wait_for
from tests.swarm_nodes import ELSEWHERE, NAMES, Swarm, seconds, swarm_of

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("platform"),
]


@pytest.fixture
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The platform with three API servers, up on three nodes, without schedules that start runs."""
    checkout = tmp_path_factory.mktemp("swarm") / "yeedu-prefect"
    copy_checkout(checkout)
    ComposePlatform(checkout).must("docker", "compose", "build", "--quiet", timeout_seconds=900)
    further = ["redis:8", machine("caddy")]
    with swarm_of(checkout, "yeedu-prefect-test-swarm", "10.201.8", further) as swarm:
        for volume in ELSEWHERE:
            label = f"yeedu-prefect.{volume}=here"
            swarm.on("node-1", "docker", "node", "update", "--label-add", label, "node-3")
        files = "docker-compose.yaml:deploy/scale.yaml:tests-control.yaml"
        took = seconds(lambda: swarm.stack_up(**{**scaled_settings(), "COMPOSE_FILE": files}))
        tell(f"make stack-up of three API servers on an empty Swarm: {took:.0f} s")
        swarm.stop_schedules()
        yield swarm


def test_api_outlives_the_node_of_one_of_its_servers(swarm: Swarm) -> None:
    assert {task["node"] for task in swarm.tasks("server")} == set(NAMES)
    runs = start(swarm, 6, 30)
    killed = time.monotonic()
    swarm.kill_node("node-2")
    longest, asked, failed = 0.0, 0, 0
    while time.monotonic() - killed < 45:
        began = time.monotonic()
        asked += 1
        failed += not swarm.is_ready()
        longest = max(longest, time.monotonic() - began)
    tell(f"{asked} requests in 45 s from a node's death: {failed} failed, the slowest took {longest:.1f} s")
    assert failed <= asked / 10
    wait_for("three API servers", lambda: swarm.running("server") == 3, 120)
    assert_each_ended_once(swarm, runs)
    tell(f"6 runs ended {time.monotonic() - killed:.0f} s after it")
