"""Which server a registration from this checkout is for, and what its deployer is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.console import Console
from local.deployments import remote_platform
from local.deployments.remote_platform import is_elsewhere, register
from local.errors import CommandError
from local.processes.services import Order
from local.settings.environments import EnvironmentSettings, settings_of
from local.settings.platform import ROOT, Settings

SERVER = "http://prefect.example.com:8080"


def settings(**values: str) -> EnvironmentSettings:
    return EnvironmentSettings(values, {}, ())


@pytest.mark.parametrize(
    ("shell", "values", "answer"),
    [
        ("", {}, False),
        (f"{SERVER}/api", {}, True),
        (f"{SERVER}/api", {"PREFECT_API_URL": f"{SERVER}/api/"}, False),
        ("", {"PREFECT_API_URL": f"{SERVER}/api"}, False),
        ("http://localhost:8080/api", {}, False),
        ("http://127.0.0.1:9090/api", {}, True),
        ("http://127.0.0.1:9090/api", {"PREFECT_PORT": "9090"}, False),
    ],
)
def test_another_server_is_told_from_the_platforms_own(
    shell: str, values: dict[str, str], answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform's own is also the one that `.env` names in place of the one that it would start."""
    monkeypatch.setenv("PREFECT_API_URL", shell)
    assert is_elsewhere(Settings(values)) is answer


def test_its_deployer_is_told_of_flows_and_server_and_of_no_secret_that_it_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployer is one that writes down its command line and its environment."""
    said = tmp_path / "said"
    program = tmp_path / "deployer"
    (tmp_path / "python").symlink_to(sys.executable)
    record = (
        "import json, os, pathlib, sys\n"
        "token = pathlib.Path(os.environ['FLOWS_GIT_TOKEN_FILE']).read_text()\n"
        f"pathlib.Path({str(said)!r}).write_text(json.dumps([sys.argv[1:], dict(os.environ), token]))\n"
    )
    program.write_text(f"#!{sys.executable}\n{record}")
    program.chmod(0o755)
    monkeypatch.setattr("local.processes.services.PROGRAMS", tmp_path)
    monkeypatch.setattr(remote_platform, "install", installed)
    monkeypatch.delenv("YEEDU_HEALTH_URL", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", SERVER)
    monkeypatch.setenv("PREFECT_API_KEY", "the-key")
    monkeypatch.setenv("YEEDU_NOTEBOOK_URL", "")
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hidden")
    monkeypatch.setenv("GITHUB_TOKEN", "hidden")
    values = {
        "PREFECT_API_AUTH_STRING": "hidden:of-the-own-platform",
        "PREFECT_UI_URL": "http://own.example",
        "FLOWS_GIT_URL": "https://git.example/flows.git",
        "FLOWS_GIT_TOKEN": "the-token",
        "YEEDU_JOB_URL": "https://yeedu.example/job",
        "YEEDU_NOTEBOOK_URL": "",
        "YEEDU_PASSWORD": "hidden",
        "YEEDU_TOKEN_FILE": "/no/file",
    }
    assert register(settings(**values), Console(), Order("apply", "staging", ["print-message", "run-*"])) == 0

    options, environment, token = elsewhere_said(said)
    assert options[:2] == ["apply", "--deployments-only"]
    assert options[options.index("--environment") :] == [
        *("--environment", "staging", "--only", "print-message", "run-*"),
    ]
    assert environment["CONFIG_DIR"] == str(ROOT / "deployer")
    assert environment["PREFECT_API_URL"] == f"{SERVER}/api"
    assert environment["PREFECT_API_KEY"] == "the-key"
    assert "PREFECT_UI_URL" not in environment, "that of the own platform is none of this server's"
    assert environment["FLOWS_GIT_URL"] == "https://git.example/flows.git"
    assert environment["YEEDU_JOB_URL"] == "https://yeedu.example/job"
    assert "YEEDU_NOTEBOOK_URL" not in environment, "an empty one is not known, rather than empty"
    assert token == "the-token"
    assert not Path(environment["FLOWS_GIT_TOKEN_FILE"]).exists()
    secrets = ("YEEDU_PASSWORD", "YEEDU_TOKEN", "WAREHOUSE", "GITHUB")
    left = [name for name in environment if name.startswith(secrets)]
    assert left == []
    assert "hidden" not in str((options, environment))


def installed(_console: Console, _settings: Settings, *, for_development: bool) -> None:
    assert not for_development


def elsewhere_said(file: Path) -> tuple[list[str], dict[str, str], str]:
    options, environment, token = json.loads(file.read_text())
    return options, environment, token


def test_flows_of_a_checkout_without_an_origin_need_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_platform, "ROOT", tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(CommandError, match="no git remote `origin`; set FLOWS_GIT_URL"):
        register(settings_of("", settings()), Console(), Order())


def test_the_server_of_the_own_file_is_told_its_login_when_no_platform_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    program = tmp_path / "deployer"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, pathlib\n"
        f"pathlib.Path({str(said)!r}).write_text(json.dumps(dict(os.environ)))\n"
    )
    program.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "key").write_text("the-key\n")
    monkeypatch.setattr("local.processes.services.PROGRAMS", tmp_path)
    monkeypatch.setattr(remote_platform, "install", installed)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    own = {
        "PREFECT_API_URL": f"{SERVER}/api",
        "PREFECT_API_KEY_FILE": str(tmp_path / "key"),
        "FLOWS_GIT_URL": "https://git.example/flows.git",
    }
    assert remote_platform.address(Settings(own)) == f"{SERVER}/api"
    assert register(settings(**own), Console(), Order()) == 0
    environment = json.loads(said.read_text())
    assert environment["PREFECT_API_URL"] == f"{SERVER}/api"
    assert environment["PREFECT_API_KEY"] == "the-key"

    with pytest.raises(CommandError, match="PREFECT_API_AUTH_STRING and PREFECT_API_KEY are both set"):
        register(settings(**own, PREFECT_API_AUTH_STRING="me:hidden"), Console(), Order())
