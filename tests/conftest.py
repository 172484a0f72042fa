"""Brings the platform up once for all end-to-end tests: one form after the other, on ports of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platforms import (
    ComposePlatform,
    LocalPlatform,
    Platform,
    ScaledPlatform,
    brought_up,
    copy_checkout,
)

FORMS = {"compose": ComposePlatform, "local": LocalPlatform}
# Of what is tested on one server, what several have to do as well; nothing else is different there.
SCALED = {"test_platform", "test_flows"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes `platform` one run per form of the platform."""
    if "platform" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("docker")
        of_local, of_compose = (
            [pytest.mark.long] if metafunc.definition.get_closest_marker(marker) else []
            for marker in ("long_locally", "long_in_containers")
        )
        forms = [
            pytest.param(name, marks=[pytest.mark.docker, *of_compose] if name == "compose" else of_local)
            for name in FORMS
            if name == "compose" or not marked
        ]
        if os.environ.get("LONG_TESTS") and Path(str(metafunc.module.__file__)).stem in SCALED:
            forms.append(pytest.param("scaled", marks=[pytest.mark.docker, pytest.mark.long]))
        metafunc.parametrize("platform", forms, indirect=True, scope="session")


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One form of the platform, up, with its first Yeedu run Completed; every test runs once per form.

    It goes before the other comes: schedules of both at once would be more than a small machine bears.
    """
    checkout = tmp_path_factory.mktemp(request.param) / "yeedu-prefect"
    copy_checkout(checkout)
    form = {**FORMS, "scaled": ScaledPlatform}[request.param]
    with brought_up(form(checkout), f"{request.param}.log") as running:
        yield running
