"""Compose files of the team's own: the trial has them, and none of them leads it to the platform's data."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.console import Console
from local.containers import images
from local.errors import CommandError
from local.settings.platform import ROOT, Settings
from local.settings.scale import compose_files
from local.tests.test_upgrade_releases import git
from local.upgrade import overlays
from local.upgrade.forms import Containers
from local.upgrade.prepare import overlay_settings

OWN = "name: x\nservices: {server: {image: x}}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "docker-compose.yaml").write_text(OWN)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    return folder


def test_a_committed_override_is_one_of_the_trials_files(checkout: Path) -> None:
    assert compose_files({}, checkout) == ["docker-compose.yaml"]
    (checkout / "docker-compose.override.yaml").write_text(OWN)
    assert compose_files({}, checkout) == [
        "docker-compose.yaml",
        "docker-compose.override.yaml",
    ]
    named = {"COMPOSE_FILE": "docker-compose.yaml:b.yaml"}
    assert compose_files(named, checkout) == ["docker-compose.yaml", "b.yaml"], "and no override"
    of_semicolons = {"COMPOSE_FILE": "a.yaml;b.yaml", "COMPOSE_PATH_SEPARATOR": ";"}
    assert compose_files(of_semicolons, checkout) == ["a.yaml", "b.yaml"]


def test_files_that_are_not_committed_are_found_from_the_clone(checkout: Path) -> None:
    (checkout / "docker-compose.override.yaml").write_text(OWN)
    assert overlay_settings(Settings({}), checkout) == {
        "COMPOSE_FILE": f"docker-compose.yaml:{checkout}/docker-compose.override.yaml",
        "COMPOSE_PATH_SEPARATOR": ":",
    }
    named = Settings({"COMPOSE_FILE": "docker-compose.yaml:../ours.yaml:/etc/ours.yaml"})
    assert overlay_settings(named, checkout)["COMPOSE_FILE"] == (
        f"docker-compose.yaml:{checkout.parent}/ours.yaml:/etc/ours.yaml"
    )
    git(checkout, "add", "--all")
    assert overlay_settings(Settings({}), checkout) == {}, "the clone has them"


def config_of(tmp_path: Path, overlay: str) -> dict[str, Any]:
    """Return what Compose, which needs no engine for that, makes of this platform with an overlay."""
    file = tmp_path / "overlay.yaml"
    file.write_text(overlay)
    environment = {
        **os.environ,
        "COMPOSE_FILE": f"docker-compose.yaml:{file}",
        "COMPOSE_PROJECT_NAME": "team-trial",
    }
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    return json.loads(subprocess.check_output(command, cwd=ROOT, env=environment))


@pytest.mark.docker
@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ("volumes: {postgres-data: {name: team-data}}", "the volume postgres-data is one for all projects"),
        ("volumes: {postgres-data: {external: true}}", "the volume postgres-data is one for all projects"),
        (
            "volumes: {postgres-data: {driver_opts: {type: none, o: bind, device: /srv/data}}}",
            "the volume postgres-data is one for all projects",
        ),
        (
            'services: {postgres: {volumes: ["/srv/data:/var/lib/postgresql/data"]}}',
            "postgres may write into /srv/data",
        ),
        ('services: {server: {volumes: ["/etc/ssl:/etc/own:ro"]}}', ""),
        ("volumes: {postgres-data: {driver_opts: {type: tmpfs, device: tmpfs, o: size=700m}}}", ""),
    ],
)
def test_a_trial_on_the_platforms_own_data_is_refused(tmp_path: Path, overlay: str, said: str) -> None:
    config = config_of(tmp_path, overlay)
    if not said:
        overlays.check_apart(config, "team-trial")
        return
    with pytest.raises(CommandError, match=said):
        overlays.check_apart(config, "team-trial")


def test_images_that_may_not_be_built_have_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    built: dict[str, Any] = {"build": {}, "image": "x-server:2"}
    config = {"services": {"server": built, "postgres": {"image": "postgres:17"}}}
    monkeypatch.setattr(images, "_ids", lambda names: dict.fromkeys(names, ""))  # type: ignore[misc]
    for values in ({}, {"IMAGE_POLICY": "never", "PLATFORM_REGISTRY": "ghcr.io/team"}):
        overlays.check_images(config, Settings(values))
    with pytest.raises(CommandError, match=r"IMAGE_POLICY=never keeps .*, and x-server:2 is not here; bring"):
        overlays.check_images(config, Settings({"IMAGE_POLICY": "never"}))
    monkeypatch.setattr(images, "_ids", lambda names: dict.fromkeys(names, "sha256:1"))  # type: ignore[misc]
    overlays.check_images(config, Settings({"IMAGE_POLICY": "never"}))


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        ({}, "team-a"),
        ({"IMAGE_PREFIX": "ours"}, "ours"),
        ({"PLATFORM_REGISTRY": "ghcr.io/team"}, ""),
        ({"PLATFORM_REGISTRY": "ghcr.io/team", "IMAGE_PREFIX": "ours"}, "ours"),
    ],
)
def test_a_trial_pulls_what_the_registry_has(values: dict[str, str], prefix: str) -> None:
    form = Containers(Settings({"COMPOSE_PROJECT_NAME": "team-a", **values}), Console())
    assert form.trial_variables()["IMAGE_PREFIX"] == prefix
