"""Brings the platform up once for all end-to-end tests: both forms side by side, on ports of their own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.platforms import OUTPUT, ComposePlatform, LocalPlatform, Platform, copy_checkout

FORMS = {"compose": ComposePlatform, "local": LocalPlatform}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes `platform` one run per form of the platform."""
    if "platform" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("docker")
        of_local = [pytest.mark.long] if metafunc.definition.get_closest_marker("long_locally") else []
        forms = [
            pytest.param(name, marks=[pytest.mark.docker] if name == "compose" else of_local)
            for name in FORMS
            if name == "compose" or not marked
        ]
        metafunc.parametrize("platform", forms, indirect=True, scope="session")


@pytest.fixture(scope="session")
def platforms(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Platform]]:
    """The forms that the selected tests need, up, with their first Yeedu run Completed."""
    needed = {
        item.callspec.params["platform"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and "platform" in item.callspec.params
        and not item.get_closest_marker("skip")
    }
    running: dict[str, Platform] = {}
    for name in sorted(needed):
        checkout = tmp_path_factory.mktemp(name) / "yeedu-prefect"
        copy_checkout(checkout)
        running[name] = FORMS[name](checkout)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda platform: platform.up(), running.values()))
        yield running
    finally:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        for platform in running.values():
            (OUTPUT / f"{platform.kind}.log").write_text(platform.diagnose(), encoding="utf-8")
        for platform in running.values():
            platform.remove()


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest, platforms: dict[str, Platform]) -> Platform:
    """One form of the platform; every test that takes it runs once per form."""
    return platforms[request.param]
