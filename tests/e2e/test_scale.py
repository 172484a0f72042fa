"""The commands of the host on a platform with several API servers."""

from collections import Counter
from pathlib import Path

import pytest

from tests.machines import machine
from tests.platforms import ComposePlatform, brought_up, copy_checkout

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("platform"),
]


class Platform(ComposePlatform):
    """The platform, which is told of several servers by the command that starts it, and by nothing else."""

    def up(self) -> str:
        return self.must("make", "up", "SCALE=1", timeout_seconds=900)

    def remove(self) -> None:
        self.must("make", "destroy", "YES=1")
        assert not self.leftovers(), "also what several servers had, and one has not"

    def parts(self) -> Counter[str]:
        """Return how many containers each service has."""
        project = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        shown = ("--format", '{{.Label "com.docker.compose.service"}}')
        return Counter(self.must("docker", "ps", "--filter", project, *shown).split())


def test_every_command_follows_what_runs(tmp_path: Path) -> None:
    checkout = tmp_path / "yeedu-prefect"
    copy_checkout(checkout)
    platform = Platform(checkout)
    platform.environment["CADDY_IMAGE"] = machine("caddy")
    several = {"server": 3, "services": 1, "proxy": 1, "redis": 1}
    with brought_up(platform, "scale.log"):
        assert several.items() <= platform.parts().items()
        assert "services     healthy" in platform.must("make", "status")
        well = platform.must("make", "doctor")
        assert "the server's own services do their work" in well

        backup = checkout / "backup.tar"
        platform.must("make", "backup", f"FILE={backup}")
        run = platform.api.run("print-message")
        platform.must("make", "restore", f"FILE={backup}", timeout_seconds=900)
        assert several.items() <= platform.parts().items()
        assert platform.api.ask("GET", f"flow_runs/{run['id']}").status_code == 404

        refused = platform.command("make", "upgrade")
        assert "an upgrade tries the release with one server; `make up SCALE=0`" in refused.stderr

        kept = platform.api.run("print-message")
        platform.must("make", "up", "SCALE=0", timeout_seconds=900)
        one = platform.parts()
        assert one["server"] == 1
        assert not {"services", "proxy", "redis"} & one.keys()
        assert platform.api.get(f"flow_runs/{kept['id']}")["state_type"] == "COMPLETED"
        assert platform.api.run("run-yeedu-job")["state_type"] == "COMPLETED"
