"""Whether a Docker engine can be used, and what its containers are doing, with a stand-in for the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.containers.engine import Project, containers_publishing, find_engine
from local.settings.platform import ROOT, Settings


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; `answer` puts a docker command into it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def answer(folder: Path, *cases: tuple[str, str, int]) -> None:
    """Make a docker command: for each beginning of a command line, what it prints, and its exit code."""
    lines = ["#!/bin/sh", 'case "$*" in']
    for number, (beginning, output, code) in enumerate(cases):
        (folder / f"output-{number}").write_text(output)
        show = f'while IFS= read -r line; do echo "$line"; done < {folder}/output-{number}'
        lines.append(f'"{beginning}"*) {show} {">&2" if code else ""}; exit {code};;')
    lines += ["*) exit 99;;", "esac"]
    command = folder / "docker"
    command.write_text("\n".join(lines) + "\n")
    command.chmod(0o755)


def test_engine_with_a_new_compose_is_used(docker: Path) -> None:
    answer(docker, ("info", "28.0.1\n", 0), ("compose version", "2.33.1\n", 0))
    engine = find_engine()
    assert engine.is_usable
    assert engine.description == "Docker 28.0.1 with Compose 2.33.1"


@pytest.mark.parametrize("version", ["2.23.3", "v2.9.0", "1.29.2"])
def test_old_compose_is_not_used(docker: Path, version: str) -> None:
    answer(docker, ("info", "28.0.1\n", 0), ("compose version", f"{version}\n", 0))
    engine = find_engine()
    assert not engine.is_usable
    assert engine.description == f"Docker Compose is {version} (2.24 or newer is needed)"


@pytest.mark.parametrize("version", ["2.24.0", "v2.24.6-desktop.1", "5.0.0"])
def test_new_compose_in_any_spelling_is_used(docker: Path, version: str) -> None:
    answer(docker, ("info", "28.0.1\n", 0), ("compose version", f"{version}\n", 0))
    assert find_engine().is_usable


def test_missing_compose_is_named(docker: Path) -> None:
    answer(docker, ("info", "28.0.1\n", 0), ("compose version", "docker: 'compose' is not a command\n", 1))
    assert find_engine().description == "Docker Compose does not answer (2.24 or newer is needed)"


def test_client_without_an_engine_tells_why(docker: Path) -> None:
    refusal = "Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker daemon running?"
    answer(docker, ("info", f"ERROR: {refusal}\nerrors pretty printing info\n", 1))
    engine = find_engine()
    assert not engine.is_usable
    assert engine.description == f"no Docker engine answers ({refusal})"


def test_machine_without_docker_tells_so(docker: Path) -> None:
    engine = find_engine()
    assert not engine.is_usable
    assert engine.description == "no Docker engine answers (docker is not installed)"


def container(service: str, status: str, started: str, **state: Any) -> dict[str, Any]:
    restart = state.pop("restart", "no" if service in {"secrets", "deployer"} else "unless-stopped")
    labels = {
        "com.docker.compose.service": service,
        "com.docker.compose.oneoff": state.pop("oneoff", "False"),
    }
    ports = {"4200/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "22/tcp": None}
    return {
        "Id": f"id-{service}",
        "Name": f"/x-{service}-1",
        "Config": {"Labels": labels},
        "State": {"Status": status, "ExitCode": state.pop("code", 0), "StartedAt": started, **state},
        "HostConfig": {"RestartPolicy": {"Name": restart}},
        "NetworkSettings": {"Ports": ports if service == "server" else {}},
    }


def test_containers_are_told_apart_by_what_is_expected_of_them(docker: Path) -> None:
    inspected = [
        container("worker", "running", "5", Health={"Status": "starting"}),
        container("server", "running", "3", Health={"Status": "healthy"}),
        container("secrets", "exited", "1"),
        container("deployer", "exited", "4", code=1),
        container("postgres", "exited", "2", code=0),
        container("deployer", "running", "6", oneoff="True"),
        container("own", "running", "7", restart="no", Health={"Status": "healthy"}),
    ]
    answer(docker, ("ps --all", "a b\n", 0), ("inspect a b", json.dumps(inspected) + "\n", 0))
    found = Project(Settings({})).containers()
    assert [one.service for one in found] == ["secrets", "postgres", "server", "deployer", "worker", "own"]
    assert [one.service for one in found if one.is_ready] == ["secrets", "server", "own"]
    assert [one.service for one in found if one.has_failed] == ["postgres", "deployer"]
    assert [str(one) for one in found] == [
        "done",
        "exited with code 0",
        "healthy",
        "exited with code 1",
        "starting",
        "healthy",
    ]
    assert found[2].ports == {8080}


def test_project_without_containers_has_none(docker: Path) -> None:
    answer(docker, ("ps --all", "", 0))
    assert Project(Settings({})).containers() == []


def test_project_is_the_one_that_the_user_named(docker: Path) -> None:
    filtered = "ps --all --quiet --filter label=com.docker.compose.project"
    answer(docker, (f"{filtered}=mine", "", 0), (f"{filtered}=yeedu-prefect", "", 0))
    assert Project(Settings({"COMPOSE_PROJECT_NAME": "mine"})).name == "mine"
    assert Project(Settings({"COMPOSE_PROJECT_NAME": "mine"})).containers() == []
    assert Project(Settings({})).containers() == []


def test_container_that_holds_a_port_is_named(docker: Path) -> None:
    answer(docker, ("ps --filter publish=8080", "other-web-1\n", 0))
    assert containers_publishing(8080) == ["other-web-1"]


def test_a_platform_of_another_checkout_is_told_from_the_own_one(docker: Path) -> None:
    project = "ps --all --quiet --filter label=com.docker.compose.project=yeedu-prefect"
    own = f"{project} --filter label=com.docker.compose.project.working_dir={ROOT}"
    answer(docker, (own, "4f1c\n", 0))
    assert Project(Settings({})).is_from_here()
    answer(docker, (own, "", 0))
    assert not Project(Settings({})).is_from_here()
