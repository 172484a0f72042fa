"""Plain `docker compose up -d`, as after `git pull`, builds what changed and replaces nothing else."""

import pytest

from tests.platforms import SERVICES, ComposePlatform, image

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.xdist_group("platform")]

CHANGED = "rescue/src/yeedu_rescue/__init__.py"


def containers(platform: ComposePlatform) -> dict[str, str]:
    """Return the container of every service that stays up."""
    return {service: platform.container(service) for service in SERVICES}


def test_up_builds_what_changed_and_replaces_nothing_else(platform: ComposePlatform) -> None:
    up, before = ("docker", "compose", "up", "--detach"), containers(platform)
    platform.must(*up)
    assert containers(platform) == before

    inside = ("with-secrets", "python3", "-c", "import yeedu_rescue; print(yeedu_rescue.__doc__)")
    file = platform.checkout / CHANGED
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"""', '"""As pulled. ', 1), encoding="utf-8")
    try:
        platform.must(*up)
        after = containers(platform)
        assert {service for service in SERVICES if after[service] != before[service]} == {"rescue"}
        named = platform.must("docker", "inspect", "--format={{.Config.Image}}", after["rescue"])
        assert named.strip() == image("rescue")
        assert platform.inside("rescue", *inside).startswith("As pulled. ")
    finally:
        file.write_text(text, encoding="utf-8")
        platform.must(*up)
