"""One setting adds the compose file for several servers, and what does not go with it is one sentence."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as commands
from local.errors import CommandError
from local.settings import scale
from local.settings.platform import Settings
from local.upgrade.preflight import check_is_upgradable

BASE = "docker-compose.yaml"


def test_the_file_comes_before_those_that_may_change_it(tmp_path: Path) -> None:
    assert scale.compose_files({}, tmp_path) == [BASE]
    assert scale.compose_files({"SCALE": "1"}, tmp_path) == [BASE, scale.OVERLAY]
    named = {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/tls.yaml"}
    assert scale.compose_files(named, tmp_path) == [BASE, scale.OVERLAY, "deploy/tls.yaml"]
    twice = {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:{scale.OVERLAY}"}
    assert scale.compose_files(twice, tmp_path) == [BASE, scale.OVERLAY]
    (tmp_path / "compose.override.yaml").touch()
    assert scale.compose_files({"SCALE": "1"}, tmp_path) == [BASE, scale.OVERLAY, "compose.override.yaml"]
    assert scale.scale_variables({"SCALE": "0"}, tmp_path) == {}


def test_an_own_redis_takes_the_place_of_the_platforms(tmp_path: Path) -> None:
    url = {"SCALE": "1", "REDIS_URL": "rediss://redis.example.com"}
    assert scale.compose_files(url, tmp_path) == [BASE, scale.OVERLAY, scale.OWN_REDIS]
    assert scale.compose_files({**url, "SCALE": "0"}, tmp_path) == [BASE]
    named = f"{BASE}:{scale.OVERLAY}:{scale.OWN_REDIS}:deploy/tls.yaml"
    assert scale.compose_files({**url, "COMPOSE_FILE": named}, tmp_path) == named.split(":")


def test_what_goes_beside_an_own_database_comes_after_it(tmp_path: Path) -> None:
    both, own = "deploy/scale-own-database.yaml", "deploy/own-database.yaml"
    found = [BASE, scale.OVERLAY, own, both, "team.yaml"]
    assert scale.compose_files({"SCALE": "1", "COMPOSE_FILE": f"{BASE}:{own}:team.yaml"}, tmp_path) == found
    assert scale.compose_files({"SCALE": "1", "COMPOSE_FILE": ":".join(found)}, tmp_path) == found
    assert scale.compose_files({"COMPOSE_FILE": f"{BASE}:{own}"}, tmp_path) == [BASE, own]


@pytest.mark.parametrize(
    ("values", "in_containers", "told"),
    [
        ({}, False, ""),
        ({"SCALE": "1"}, True, ""),
        ({"SCALE": "1", "API_SERVERS": "8"}, True, ""),
        ({"SCALE": "1"}, False, "several servers (SCALE=1) run in containers only"),
        ({"SCALE": "yes"}, True, "SCALE='yes': set it to 1 for several API servers, or to 0 for one"),
        ({"SCALE": "1", "API_SERVERS": "9"}, True, "API_SERVERS='9': set it to a number from 1 to 8"),
        ({"SCALE": "1", "API_SERVERS": "0"}, True, "API_SERVERS='0': set it to a number from 1 to 8"),
        ({"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/own-database.yaml"}, True, ""),
        (
            {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/own-database.yaml:deploy/scale.yaml"},
            True,
            "COMPOSE_FILE has deploy/scale.yaml after deploy/own-database.yaml; name it before that file",
        ),
        ({"SCALE": "1", "REDIS_URL": "redis+sentinel://a:26379,b:26379/main"}, True, ""),
        ({"REDIS_URL": "redis://redis.example.com"}, True, "REDIS_URL is set, and one server needs no Redis"),
        ({"SCALE": "1", "REDIS_URL": "redis.example.com"}, True, "REDIS_URL is not an address of Redis"),
        (
            {"SCALE": "1", "REDIS_URL": "redis://:canary@redis.example.com"},
            True,
            "REDIS_URL has a password in it; put that into a file",
        ),
        (
            {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/own-redis.yaml"},
            True,
            "COMPOSE_FILE has deploy/own-redis.yaml, and .env has no REDIS_URL",
        ),
        (
            {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/other-server.yaml"},
            True,
            "COMPOSE_FILE has deploy/other-server.yaml, which deploy/scale.yaml does not go with",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    values: dict[str, str], in_containers: bool, told: str, tmp_path: Path
) -> None:
    if not told:
        scale.check_scale(values, tmp_path, in_containers=in_containers)
        return
    with pytest.raises(CommandError) as refused:
        scale.check_scale(values, tmp_path, in_containers=in_containers)
    assert str(refused.value).startswith(told)


@pytest.fixture
def scaled() -> Iterator[str]:
    """The name of a project with containers of several servers."""
    name = f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"
    files = "/srv/docker-compose.yaml,/srv/deploy/scale.yaml,/srv/deploy/tls.yaml"
    services = ("git-server", "services")
    try:
        for service in services:
            labels = {"project": name, "project.config_files": files, "service": service}
            options = [f"--label=com.docker.compose.{label}={value}" for label, value in labels.items()]
            create = ("docker", "create", f"--name={name}-{service}", *options, "postgres:17")
            subprocess.run(create, check=True, capture_output=True)
        yield name
    finally:
        names = [f"{name}-{service}" for service in services]
        subprocess.run(["docker", "rm", "--force", *names], check=True, capture_output=True)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("values", "found"),
    [({}, "1"), ({"COMPOSE_FILE": f"{BASE}:deploy/tls.yaml"}, "1"), ({"SCALE": "0"}, "0")],
)
def test_several_servers_that_run_count_until_one_is_asked_for(
    scaled: str, values: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALE", "")  # which commands set for one another
    settings = commands._as_it_runs(  # pyright: ignore[reportPrivateUsage]
        Settings({"COMPOSE_PROJECT_NAME": scaled, **values})
    )
    assert settings.get("SCALE") == found
    with pytest.raises(CommandError, match="an upgrade tries the release with one server"):
        check_is_upgradable(settings)


@pytest.mark.docker
def test_what_stays_as_it_is_on_the_way_to_one_server_does_not_count(scaled: str, tmp_path: Path) -> None:
    values = {"SCALE": "1", "COMPOSE_FILE": f"{BASE}:deploy/tls.yaml"}
    assert scale.runs_scaled(scaled)
    assert not scale.changes_scale(values, tmp_path, scaled)
    subprocess.run(["docker", "rm", f"{scaled}-services"], check=True, capture_output=True)
    assert not scale.runs_scaled(scaled)
    assert scale.changes_scale(values, tmp_path, scaled)
