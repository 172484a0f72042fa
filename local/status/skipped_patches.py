"""Which patches of Prefect the services skip because they do not know this version; for ``make status``."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from local.api import ApiUnavailableError, PrefectApi
from local.containers.engine import Container
from local.script import load_script

_BEGINNING = "Prefect's own code runs in place of "
_PATCH_REPORT = Path(__file__).parents[2] / "worker" / "src" / "yeedu_worker" / "patch_report.py"


def container_lines(api: PrefectApi, containers: Iterable[Container]) -> Iterator[str]:
    """Yield what the server and the workers' latest health checks report."""
    yield from _server_lines(api)
    for container in containers:
        if container.health_output.startswith(_BEGINNING):
            yield from _line(container.service, container.health_output)


def process_lines(api: PrefectApi, home: Path) -> Iterator[str]:
    """Yield what the server reports, and what the worker wrote into its Prefect home when it started."""
    yield from _server_lines(api)
    yield from _line("worker", load_script(_PATCH_REPORT).last_report(home))


def _server_lines(api: PrefectApi) -> Iterator[str]:
    with suppress(ApiUnavailableError):  # a server other than the platform's has no such page
        yield from _line("server", api.get("/health/services").get("patches_left_out", ""))


def _line(service: str, told: str) -> Iterator[str]:
    if told:
        yield f"{service:<15} {' '.join(told.split())}"
