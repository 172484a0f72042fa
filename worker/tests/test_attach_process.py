"""The worker's command and environment, on both systems."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from attach.paths import Paths
from attach.process import login_variables, worker_command, worker_environment
from attach.settings import Settings
from yeedu_worker.entrypoint import worker_command as entrypoint_command

LINUX = Paths(PurePosixPath("/w/box"))
WINDOWS = Paths(PureWindowsPath(r"C:\w\box"))
SETTINGS = Settings(
    server="http://prefect:8080/api",
    pool="my pool",
    name="box",
    limit=3,
    flows_git_url="https://git.example/flows.git",
    flows_git_ref="main",
    variables={"MY_KEY": "mine", "WORKER_NAME": "not this"},
)
PRIVATE = {"AWS_SECRET_ACCESS_KEY": "hidden", "PREFECT_API_KEY": "hidden", "PREFECT_PROFILE": "other"}


def environment(paths: Paths, inherited: dict[str, str] | None = None) -> dict[str, str]:
    return worker_environment(SETTINGS, paths, inherited or {}, 18081)


def test_linux_starts_the_platforms_own_worker() -> None:
    assert worker_command(SETTINGS, LINUX) == ["/w/box/env/bin/yeedu-worker"]


def test_the_platforms_own_worker_reads_what_it_is_given() -> None:
    command = entrypoint_command(environment(LINUX))
    for name, value in (
        ("--pool", "my pool"),
        ("--name", "box"),
        ("--limit", "3"),
        ("--grace-seconds", "20"),
    ):
        assert command[command.index(name) + 1] == value


def test_windows_starts_prefects_worker() -> None:
    assert worker_command(SETTINGS, WINDOWS) == [
        *(r"C:\w\box\env\Scripts\python.exe", "-m", "prefect", "worker", "start", "--type", "process"),
        *("--pool", "my pool", "--no-create-pool-if-not-found", "--name", "box", "--limit", "3"),
    ]


def test_chosen_queues_reach_either_worker() -> None:
    settings = dataclasses.replace(SETTINGS, work_queues="staging,of parking")
    assert worker_command(settings, WINDOWS)[-4:] == ["--work-queue", "staging", "--work-queue", "of parking"]
    variables = worker_environment(settings, LINUX, {}, 18081)
    assert entrypoint_command(variables)[-4:] == ["--work-queue", "staging", "--work-queue", "of parking"]


def test_named_environment_is_used_instead_of_a_made_one() -> None:
    settings = Settings("http://x/api", "pool", "box", environment="/opt/venv")
    assert worker_command(settings, LINUX) == ["/opt/venv/bin/yeedu-worker"]


@pytest.mark.parametrize("paths", [LINUX, WINDOWS], ids=["linux", "windows"])
def test_settings_reach_the_worker_and_its_flows(paths: Paths) -> None:
    result = environment(paths)
    assert result["PREFECT_API_URL"] == "http://prefect:8080/api"
    assert result["WORKER_NAME"] == "box"
    assert result["FLOWS_GIT_URL"] == "https://git.example/flows.git"
    assert result["FLOWS_GIT_REF"] == "main"
    assert result["MY_KEY"] == "mine"
    assert result["PYTHONUTF8"] == "1"
    assert result["PREFECT_WORKER_WEBSERVER_PORT"] == "18081"
    assert "localhost" in result["NO_PROXY"]


@pytest.mark.parametrize(
    "server", ["http://prefect:8080/api", "https://api.prefect.cloud/api/accounts/a/workspaces/w"]
)
@pytest.mark.parametrize(("auth_string", "api_key"), [("me:secret", ""), ("", "the-key"), ("", "")])
def test_login_and_key_are_told_as_by_the_platforms_own_containers(
    server: str, auth_string: str, api_key: str
) -> None:
    attached = login_variables(Settings(server, "pool", "box"), auth_string, api_key)
    given = {"PREFECT_API_URL": server, "PREFECT_API_AUTH_STRING": auth_string, "PREFECT_API_KEY": api_key}
    launcher = Path(__file__).parents[2] / "server" / "with_secrets.py"
    done = subprocess.run(
        [
            sys.executable,
            str(launcher),
            sys.executable,
            "-c",
            "import json, os; print(json.dumps(dict(os.environ)))",
        ],
        env={name: value for name, value in given.items() if value},
        capture_output=True,
        check=True,
    )
    in_container = {
        name: value for name, value in json.loads(done.stdout).items() if name.startswith("PREFECT_")
    }
    assert {"PREFECT_API_URL": server, **attached} == in_container


@pytest.mark.parametrize("paths", [LINUX, WINDOWS], ids=["linux", "windows"])
def test_nothing_private_of_the_user_reaches_flows(paths: Paths) -> None:
    assert "hidden" not in str(environment(paths, PRIVATE))
    assert "PREFECT_PROFILE" not in environment(paths, PRIVATE)
    assert "PREFECT_API_AUTH_STRING" not in environment(paths, PRIVATE)


def test_programs_of_the_environment_come_first() -> None:
    assert environment(LINUX, {"PATH": "/usr/bin"})["PATH"] == "/w/box/env/bin:/usr/bin"
    assert environment(WINDOWS, {"Path": r"C:\git"})["PATH"] == r"C:\w\box\env\Scripts;C:\git"
    assert [name for name in environment(WINDOWS, {"Path": r"C:\git"}) if name.upper() == "PATH"] == ["PATH"]
    assert environment(LINUX, {})["PATH"].endswith(os.defpath)


def test_clones_go_to_the_workers_own_folder() -> None:
    assert environment(LINUX)["TMPDIR"] == "/w/box/t"
    assert environment(WINDOWS)["TEMP"] == environment(WINDOWS)["TMP"] == r"C:\w\box\t"


def test_git_on_windows_writes_long_paths_beside_the_users_own_settings() -> None:
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy", "GIT_CONFIG_VALUE_0": "x"}
    settings = Settings("http://x/api", "pool", "box", variables=own)
    result = worker_environment(settings, WINDOWS, {}, 1)
    assert (result["GIT_CONFIG_COUNT"], result["GIT_CONFIG_KEY_0"]) == ("2", "http.proxy")
    assert (result["GIT_CONFIG_KEY_1"], result["GIT_CONFIG_VALUE_1"]) == ("core.longpaths", "true")


def test_windows_programs_find_their_system() -> None:
    inherited = {"SystemRoot": r"C:\Windows", "ComSpec": r"C:\Windows\system32\cmd.exe", "TEMP": r"C:\long"}
    result = environment(WINDOWS, inherited)
    assert result["SystemRoot"] == r"C:\Windows"
    assert result["ComSpec"].endswith("cmd.exe")
    assert "SystemRoot" not in environment(LINUX, inherited)


def test_own_proxy_exceptions_stay() -> None:
    assert environment(LINUX, {"no_proxy": "intra.example"})["NO_PROXY"].startswith("intra.example,")
