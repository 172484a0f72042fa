"""Fixtures that serve a mock; pytest finds them wherever this package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Fixtures import what they need themselves: every run of pytest loads this module, even if it uses none.
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from yeedu_mock.testing import RunningMock


@pytest.fixture(scope="session")
def yeedu_mock(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningMock, None, None]:
    """Serve a mock for the whole test session."""
    from yeedu_mock.testing import default_settings, running_mock

    with running_mock(default_settings(tmp_path_factory.mktemp("yeedu-mock"))) as mock:
        yield mock


@pytest.fixture
def yeedu_switches(yeedu_mock: RunningMock) -> Generator[Callable[..., None], None, None]:
    """Return a function that changes the mock's switches, by name, until the test ends."""
    yield yeedu_mock.switch
    yeedu_mock.mock.control.reset_switches()
