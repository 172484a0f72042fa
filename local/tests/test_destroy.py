"""Data is deleted when somebody says so, and for no other reason."""

import io
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.console import Console
from local.destroy import confirm
from local.errors import CommandError
from tests.platforms import copy_checkout

NAME = "yeedu-prefect"


@pytest.mark.parametrize(
    ("typed", "yes", "goes_on"),
    [
        (f"{NAME}\n", "", True),
        (f"  {NAME} \n", "", True),
        ("yes\n", "", False),
        ("\n", "", False),
        ("", "", False),
        (f"{NAME}-2\n", "", False),
        ("", "1", True),
        ("", "no", False),
    ],
)
def test_only_its_name_or_a_scripts_yes_deletes_a_platform(
    typed: str,
    yes: str,
    goes_on: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("YES", yes)
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    if goes_on:
        confirm(NAME, ["all of it"], Console())
    else:
        with pytest.raises(CommandError, match=f"^{NAME} was not typed, so nothing was deleted"):
            confirm(NAME, ["all of it"], Console())
    assert "\n  all of it\n" in capsys.readouterr().out


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of which nothing runs."""
    folder = tmp_path_factory.mktemp("destroy") / "checkout"
    copy_checkout(folder)
    return folder


@pytest.fixture
def checkout(copy: Path) -> Path:
    """A checkout with data of local processes that do not run."""
    data = copy / ".local" / "server"
    for folder in (data, copy / "tests" / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    (data / "prefect.db").write_text("years of work")
    return copy


def make(
    checkout: Path, *arguments: str, typed: str = "", project: str = ""
) -> subprocess.CompletedProcess[str]:
    """Type a make command, with a Docker engine for a project that is named, or else with none."""
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": project or "mine"}
    environment.pop("YES", None)
    if not project:
        environment["DOCKER_HOST"] = "unix:///nonexistent"
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments],
        cwd=checkout,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "typed", "is_left"),
    [
        (["clean"], "mine\n", True),
        (["clean", "YES=1"], "mine\n", True),
        (["destroy"], "", True),
        (["destroy"], "y\n", True),
        (["destroy"], "mine\n", False),
        (["destroy", "YES=1"], "", False),
    ],
)
def test_make_deletes_data_only_where_it_was_told_to(
    checkout: Path, arguments: list[str], typed: str, is_left: bool
) -> None:
    done = make(checkout, *arguments, typed=typed)
    assert (checkout / ".local" / "server" / "prefect.db").exists() == is_left, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode != 0) == (arguments == ["destroy"] and is_left)
    if arguments[0] == "clean":
        assert not (checkout / "tests" / "output").exists()
        assert "`make destroy` deletes its data" in done.stdout
    elif is_left:
        assert "make destroy: mine was not typed" in done.stderr


def test_nothing_is_asked_where_there_is_nothing(checkout: Path) -> None:
    assert make(checkout, "destroy", "YES=1").returncode == 0
    done = make(checkout, "destroy")
    assert (done.returncode, done.stdout) == (0, "There is nothing to delete.\n")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[str]:
    """A project that was started from another checkout: a container and a volume of it."""
    name = f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"
    label = "com.docker.compose.project"
    for command in (
        ["volume", "create", "--label", f"{label}={name}", name],
        [
            *("create", "--name", name, "--label", f"{label}={name}"),
            *("--label", f"{label}.working_dir={tmp_path}", "--network", "none", "postgres:17"),
        ],
    ):
        subprocess.run(["docker", *command], check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)
    subprocess.run(["docker", "volume", "rm", name], check=True, capture_output=True)


@pytest.mark.docker
def test_what_another_checkout_started_is_not_deleted_from_here(
    checkout: Path, project: str, tmp_path: Path
) -> None:
    done = make(checkout, "destroy", "YES=1", project=project)
    assert done.returncode != 0
    assert f"make destroy: the project {project} was started from {tmp_path}: run this there" in done.stderr
    for command in (["container", "inspect"], ["volume", "inspect"]):
        subprocess.run(["docker", *command, project], check=True, capture_output=True)
    assert (checkout / ".local" / "server" / "prefect.db").exists()
