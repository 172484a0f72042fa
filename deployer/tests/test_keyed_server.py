"""A server that asks for an API key: Prefect Cloud, or one behind a company's gateway."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import prefect
import pytest
import requests

from tests.keyed_server import ACCOUNT, WORKSPACE, KeyedServer
from tests.prefect_process import PrefectProcess
from yeedu_deployer.server import open_client
from yeedu_deployer.settings import Configuration, ui_url_of

pytestmark = pytest.mark.timeout(300)  # each start of the program imports Prefect
KEY = "canary-of-the-key"
YAML = """\
pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $FLOWS_GIT_URL }}"}}]
deployments:
  - name: one
    entrypoint: flows/one.py:run
    work_pool: {name: yeedu-pool}
    schedules: [{cron: "*/5 * * * *"}]
name: tests
"""
Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(tmp_path_factory.mktemp("behind")) as server:
        yield server


@pytest.fixture(params=["cloud", "gateway"])
def keyed(behind: PrefectProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KeyedServer]:
    server = KeyedServer(behind.url, tmp_path / "journal", KEY, is_cloud=request.param == "cloud")
    with server.running():
        yield server


@pytest.fixture
def deployer(tmp_path: Path, keyed: KeyedServer, repository) -> Deploy:
    repository.add_flows("one")
    name = "cloud" if keyed.is_cloud else "gateway"
    (tmp_path / "prefect.yaml").write_text(YAML.replace("name: one", f"name: one-{name}"))
    (tmp_path / "work-pools.yaml").write_text("work_pools: [{name: yeedu-pool}]")
    (tmp_path / "home").mkdir()
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "password").write_text("canary-of-the-password")

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": keyed.url,
            "PREFECT_API_KEY_FILE": str(tmp_path / "key"),
            "YEEDU_PASSWORD_FILE": str(tmp_path / "password"),
            "FLOWS_GIT_URL": repository.url,
            **changes,
        }
        return subprocess.run(
            [sys.executable, "-m", "yeedu_deployer", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    return run


def test_plan_apply_and_status_tell_the_key_with_every_request(
    deployer: Deploy, keyed: KeyedServer, behind: PrefectProcess
) -> None:
    """What a key may not do, such as to register the forms of the UI, is said and stops nothing."""
    for slug in ("yeedu-credentials", "yeedu-job", "yeedu-notebook"):
        if (found := requests.get(f"{behind.url}/block_types/slug/{slug}", timeout=90)).ok:
            requests.delete(f"{behind.url}/block_types/{found.json()['id']}", timeout=90).raise_for_status()
    done = [deployer(*command) for command in (["plan"], ["apply"], ["plan"], ["status"])]
    assert [(run.returncode, run.stderr) for run in done] == [(2, ""), (0, ""), (0, ""), (0, "")]
    ui = f"{keyed.address}/account/{ACCOUNT}/workspace/{WORKSPACE}" if keyed.is_cloud else keyed.address
    assert f": created  {ui}/deployments/deployment/" in done[1].stdout
    refused = "The block type 'Yeedu Job' could not be created: the server answered 403"
    assert (f"block type: Yeedu Job: kept  {refused}" in done[1].stdout) is keyed.is_cloud
    assert keyed.asked()
    assert keyed.refused() == []
    assert "canary" not in "".join(run.stdout for run in done)


def test_wrong_key_is_told_at_once_and_not_shown(deployer: Deploy, keyed: KeyedServer) -> None:
    wrong = deployer("plan", PREFECT_API_KEY_FILE="", PREFECT_API_KEY="canary-wrong")
    none = deployer("plan", PREFECT_API_KEY_FILE="")
    cannot = f"error: The Prefect server at {keyed.url} cannot be used: the server rejects"
    assert [(run.returncode, run.stdout, run.stderr) for run in (wrong, none)] == [
        (1, "", f"{cannot} the API key; check PREFECT_API_KEY or its file.\n"),
        (1, "", f"{cannot} the credentials; check PREFECT_API_AUTH_STRING or its file.\n"),
    ]


@pytest.mark.parametrize(
    ("api_url", "ui_url"),
    [
        ("http://localhost:8080/api", "http://localhost:8080"),
        ("https://prefect.example.com/team/api", "https://prefect.example.com/team"),
        (
            "https://api.prefect.cloud/api/accounts/a/workspaces/w",
            "https://app.prefect.cloud/account/a/workspace/w",
        ),
    ],
)
def test_links_lead_to_the_ui_of_the_api(api_url: str, ui_url: str) -> None:
    assert ui_url_of(api_url) == ui_url
    configuration = Configuration.from_environment({"PREFECT_API_URL": api_url, "PREFECT_API_KEY": KEY})
    assert configuration.ui_url == ui_url
    assert KEY in configuration.secrets
    assert KEY not in repr(configuration)
    assert configuration.api_key == KEY


def test_server_of_another_version_is_told_in_one_line(
    server, client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("yeedu_deployer.server.own_version", "3.0.0")
    with open_client(server.url):
        said = capsys.readouterr()
    assert said.err == f"note: the server has Prefect {prefect.__version__}, and this deployer 3.0.0.\n"
    assert said.out == ""
