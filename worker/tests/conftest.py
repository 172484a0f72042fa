"""One Prefect server for all tests of the worker that need one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))

from prefect_processes import PrefectServer, prefect_server

HERE = Path(__file__).parent


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give tests that start workers, or wait for flow runs, the time that those take on a busy machine."""
    is_here = item.path.is_relative_to(HERE)
    if is_here and "server" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server of these tests' own."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running
