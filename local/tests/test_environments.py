"""The settings of an environment: its own file over the platform's, and its secrets as files."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.errors import CommandError
from local.processes.services import Order
from local.script import load_script
from local.settings import environments
from local.settings.environments import EnvironmentSettings, secret_files, settings_of
from local.settings.platform import Settings

PLATFORM = {
    "YEEDU_JOB_URL": "https://production.example/job",
    "YEEDU_USERNAME": "production",
    "YEEDU_PASSWORD_FILE": "/secrets/production",
    "WAREHOUSE_URL": "postgresql://production@db/city",
    "WAREHOUSE_PASSWORD": "production-password",
    "FLOWS_GIT_TOKEN": "production-token",
    "PREFECT_PORT": "18080",
}


@pytest.fixture(autouse=True)
def nothing_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("YEEDU_", "WAREHOUSE_", "FLOWS_GIT_")):
            monkeypatch.delenv(name)


def read(folder: Path, text: str, values: dict[str, str] = PLATFORM) -> EnvironmentSettings:
    (folder / ".env.staging").write_text(text)
    return settings_of("staging", Settings(values), folder)


def secrets_of(settings: EnvironmentSettings) -> dict[str, str]:
    with secret_files(settings) as folder:
        return {file.name: file.read_text() for file in folder.iterdir()}


def test_its_own_file_counts_before_the_platforms(tmp_path: Path) -> None:
    settings = read(
        tmp_path, "YEEDU_JOB_URL=https://staging.example/job\nFLOWS_GIT_URL=https://staging.example/f.git\n"
    )
    assert settings.get("YEEDU_JOB_URL") == "https://staging.example/job"
    assert (settings.get("YEEDU_USERNAME"), settings.get("FLOWS_GIT_URL")) == (
        "production",
        "https://staging.example/f.git",
    )
    assert settings.prefect_port == 18080
    assert secrets_of(settings) == {}, "without a login of its own it has the platform's"
    assert settings.own_addresses == {
        "YEEDU_JOB_URL": "https://staging.example/job",
        "FLOWS_GIT_URL": "https://staging.example/f.git",
    }


def test_the_shell_counts_before_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YEEDU_JOB_URL", "https://shell.example/job")
    settings = read(tmp_path, "YEEDU_JOB_URL=https://staging.example/job\n", {**PLATFORM, **os.environ})
    assert settings.get("YEEDU_JOB_URL") == "https://shell.example/job"
    assert settings.own_addresses == {}


def test_an_environment_without_a_file_has_the_platforms_settings(tmp_path: Path) -> None:
    for name in ("", "staging"):
        settings = settings_of(name, Settings(PLATFORM), tmp_path)
        assert (dict(settings.values), settings.own, settings.secrets) == (PLATFORM, {}, ())


def test_a_login_of_its_own_is_taken_whole(tmp_path: Path) -> None:
    """What production logs in with goes nowhere else, be it that the other one logs in in another way."""
    token = tmp_path / "token"
    token.write_text("staging-token\n")
    text = f"YEEDU_TOKEN_FILE={token}\nWAREHOUSE_URL=postgresql://staging@db/city\nFLOWS_GIT_TOKEN=\n"
    settings = read(tmp_path, text)
    assert secrets_of(settings) == {
        "YEEDU_TOKEN": "staging-token",
        "YEEDU_PASSWORD": "",
        "WAREHOUSE_PASSWORD": "",
        "FLOWS_GIT_TOKEN": "",
    }
    assert settings.own_addresses == {"WAREHOUSE_URL": "postgresql://staging@db/city"}


def test_secrets_are_out_of_reach_for_other_users_and_gone_afterwards(tmp_path: Path) -> None:
    settings = read(tmp_path, "YEEDU_PASSWORD=hidden\n")
    assert "hidden" not in repr(settings)
    with secret_files(settings) as folder:
        file = folder / "YEEDU_PASSWORD"
        assert stat.S_IMODE(file.stat().st_mode) == 0o444, "a container's user reads it"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700, "nobody else gets there"
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("PREFECT_PORT=1", ".env.staging sets PREFECT_PORT, which is the platform's: it belongs into .env"),
        ("YEEDU_UI_URL=x", ".env.staging sets YEEDU_UI_URL"),
        ("YEEDU_MOCK_PORT=1", ".env.staging sets YEEDU_MOCK_PORT"),
        ("YEEDU_PASSWORD=a\nYEEDU_PASSWORD_FILE=/b", "YEEDU_PASSWORD and YEEDU_PASSWORD_FILE are both set"),
        ("YEEDU_TOKEN_FILE=/no/file", "YEEDU_TOKEN_FILE: /no/file cannot be read"),
        ("YEEDU TOKEN", ".env.staging, line 1"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=r"^[^\n]*$") as caught:
        secrets_of(read(tmp_path, text))
    assert sentence in str(caught.value)


def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ENVIRONMENT='\.\./x' is not an environment's name"):
        settings_of("../x", Settings({}), tmp_path)


def test_every_secret_of_the_deployer_but_those_of_alerts_and_github_can_be_an_environments_own() -> None:
    secrets = load_script(environments.ROOT / "server" / "generate_secrets.py").SECRETS
    names = {secret.setting for secret in secrets if secret.folder == "deployer"}
    assert {name for name in names if not name.startswith(("ALERT_", "GITHUB_"))} == set(environments.SECRETS)


def test_docker_is_told_addresses_and_where_secrets_are_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program `docker` is one that writes down what it is told, and what is in the mounted folder."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    record = (
        "import json, os, pathlib, sys\n"
        "mounts = [one.split(':')[0] for one in sys.argv if one.endswith('/environment:ro')]\n"
        "files = {file.name: file.read_text() for one in mounts for file in pathlib.Path(one).iterdir()}\n"
        f"pathlib.Path({str(said)!r}).write_text(json.dumps([sys.argv[1:], dict(os.environ), files]))\n"
    )
    program.write_text(f"#!{sys.executable}\n{record}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    settings = read(tmp_path, "YEEDU_JOB_URL=https://staging.example/job\nYEEDU_PASSWORD=hidden\n")

    order = Order("apply", "staging", ["print-message"])
    assert ComposeMode(Settings(PLATFORM), Console()).deploy(settings, order) == 0

    arguments, environment, files = json.loads(said.read_text())
    assert arguments[arguments.index("deployer") :] == [
        *("deployer", "apply", "--environment", "staging", "--only", "print-message"),
    ]
    assert "YEEDU_PASSWORD_FILE=/run/platform/environment/YEEDU_PASSWORD" in arguments
    assert environment["YEEDU_JOB_URL"] == "https://staging.example/job"
    assert "hidden" not in str((arguments, environment))
    assert files == {"YEEDU_PASSWORD": "hidden", "YEEDU_TOKEN": ""}

    ComposeMode(Settings(PLATFORM), Console()).deploy(settings_of("", Settings(PLATFORM), tmp_path), Order())
    arguments, _, files = json.loads(said.read_text())
    assert (arguments[-2:], files) == (["deployer", "apply"], {})
