"""One Prefect server for all tests of the worker that need one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))

from prefect_processes import PrefectServer, prefect_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server of these tests' own."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running
