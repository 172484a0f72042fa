"""Fixtures that serve a mock: `from yeedu_mock.pytest_plugin import yeedu_mock` in a conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yeedu_mock.testing import RunningMock, default_settings, running_mock

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="session")
def yeedu_mock(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningMock, None, None]:
    """A mock that serves as long as the test session lasts."""
    with running_mock(default_settings(tmp_path_factory.mktemp("yeedu-mock"))) as mock:
        yield mock
