"""Half a set-up of another server is told, and so is what is not here with one."""

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from local import __main__ as program
from local.api import PrefectApi
from local.containers.engine import Engine, Project
from local.errors import CommandError
from local.processes.services import Order
from local.settings.other_server import check_other_server
from local.settings.platform import Settings
from tests.keyed_server import keyed_server

URL = {"PREFECT_API_URL": "https://prefect.example/api"}
OVERLAY = {"COMPOSE_FILE": "docker-compose.yaml:deploy/other-server.yaml"}
WITHOUT_URL = "COMPOSE_FILE has deploy/other-server.yaml, and .env has no PREFECT_API_URL"
WITHOUT_OVERLAY = ".env has PREFECT_API_URL, and no COMPOSE_FILE=docker-compose.yaml:deploy/other-server.yaml"


@pytest.mark.parametrize(
    ("values", "in_containers", "sentence"),
    [
        ({}, True, ""),
        ({**URL, **OVERLAY}, True, ""),
        (URL, False, ""),
        ({**URL, "COMPOSE_FILE": "docker-compose.yaml;.\\deploy\\other-server.yaml"}, True, ""),
        (OVERLAY, True, WITHOUT_URL),
        (OVERLAY, False, WITHOUT_URL),
        (URL, True, WITHOUT_OVERLAY),
    ],
)
def test_half_a_set_up_is_one_sentence(values: dict[str, str], in_containers: bool, sentence: str) -> None:
    with pytest.raises(CommandError, match=re.escape(sentence)) if sentence else nullcontext():
        check_other_server(Settings(values), in_containers=in_containers)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_nothing_of_another_server_is_backed_up_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "read", lambda: Settings(URL))
    monkeypatch.setattr(program, "find_engine", lambda: Engine("none", is_usable=False))
    with pytest.raises(CommandError, match=r"are on https://prefect\.example/api; back them up there"):
        program.run(command, Path("backups/x.tar"), Order())


def test_compose_does_not_hear_of_a_server_that_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.example/api")
    with Project(Settings({})).compose("version", "--short") as process:
        environment = Path(f"/proc/{process.pid}/environ")
        told = environment.read_bytes() if environment.exists() else b""
        process.wait()
    assert b"elsewhere" not in told


@pytest.mark.parametrize("is_cloud", [True, False], ids=["cloud", "gateway"])
def test_key_is_told_and_a_wrong_one_is_one_sentence(tmp_path: Path, is_cloud: bool) -> None:
    with keyed_server(tmp_path, "the-key", is_cloud=is_cloud) as server:
        other = {"PREFECT_API_URL": server.url}
        assert PrefectApi.of(Settings({**other, "PREFECT_API_KEY": "the-key"})).deployments() == []
        with pytest.raises(
            CommandError, match="rejects the API key; check PREFECT_API_KEY or its file"
        ) as caught:
            PrefectApi.of(Settings({**other, "PREFECT_API_KEY": "canary"})).deployments()
        assert "canary" not in str(caught.value)
        with pytest.raises(CommandError, match="rejects the login; check PREFECT_API_AUTH_STRING"):
            PrefectApi.of(Settings(other)).deployments()
