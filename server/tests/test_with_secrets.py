"""The launcher that turns secret files into Prefect settings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[1] / "with_secrets.py"


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAUNCHER), *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_file_becomes_the_setting_and_its_path_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    done = run({"PREFECT_SERVER_DATABASE_PASSWORD_FILE": str(file)}, "env")
    assert done.returncode == 0
    assert "PREFECT_SERVER_DATABASE_PASSWORD=s3cret\n" in done.stdout
    assert "PREFECT_SERVER_DATABASE_PASSWORD_FILE" not in done.stdout


def test_empty_file_leaves_the_setting_off(tmp_path: Path) -> None:
    file = tmp_path / "auth"
    file.touch()
    done = run({"PREFECT_API_AUTH_STRING_FILE": str(file)}, "env")
    assert done.returncode == 0
    assert "PREFECT_API_AUTH_STRING" not in done.stdout


KEY = {"PREFECT_API_KEY": "the-key"}
HEADER = 'PREFECT_CLIENT_CUSTOM_HEADERS={"Authorization": "Bearer the-key"}\n'


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({**KEY, "PREFECT_API_URL": "https://prefect.example/api"}, HEADER),
        (
            {**KEY, "PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/w"},
            "PREFECT_CLOUD_API_URL=https://api.prefect.cloud/api\n",
        ),
        ({**KEY, "PREFECT_CLIENT_CUSTOM_HEADERS": "{}"}, "PREFECT_CLIENT_CUSTOM_HEADERS={}\n"),
        ({**KEY, "PREFECT_API_AUTH_STRING": "me:password"}, ""),
        ({}, ""),
    ],
)
def test_key_is_told_on_websockets_too(environment: dict[str, str], line: str) -> None:
    """Prefect's client tells it there to Cloud alone; a login, which goes first, it tells everywhere."""
    helped = ("PREFECT_CLIENT_CUSTOM_HEADERS=", "PREFECT_CLOUD_API_URL=")
    told = [entry for entry in run(environment, "env").stdout.splitlines(True) if entry.startswith(helped)]
    assert told == ([line] if line else [])


def test_other_file_variables_are_left_alone() -> None:
    done = run({"PREFECT_API_SSL_CERT_FILE": "/ca.pem", "YEEDU_PASSWORD_FILE": "/x"}, "env")
    assert "PREFECT_API_SSL_CERT_FILE=/ca.pem\n" in done.stdout
    assert "YEEDU_PASSWORD_FILE=/x\n" in done.stdout


@pytest.mark.parametrize(
    ("environment", "command", "message"),
    [
        ({"PREFECT_API_AUTH_STRING_FILE": "/nowhere"}, ["env"], "No such file or directory: '/nowhere'"),
        (
            {"PREFECT_API_AUTH_STRING_FILE": "/dev/null", "PREFECT_API_AUTH_STRING": "a:b"},
            ["env"],
            "both set",
        ),
        ({}, [], "name the command"),
        ({}, ["no-such-command"], "No such file or directory"),
    ],
)
def test_mistake_gives_one_sentence(environment: dict[str, str], command: list[str], message: str) -> None:
    done = run(environment, *command)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


SERVICES = "server,git-server,127.0.0.1,::1"
ASK = """
import os, urllib.request, httpx
def proxy(url):
    pool = httpx.Client()._transport_for_url(httpx.URL(url))._pool
    return [type(pool).__name__ == "HTTPProxy", not urllib.request.proxy_bypass(url.split("/")[2])]
for url in ("http://server:4200/api", "http://127.0.0.1:4200/", "http://x.corp.example/", "http://yeedu.example/"):
    print(url.split("/")[2], *proxy(url))
"""


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_services_are_reached_without_the_proxy_that_docker_puts_there(name: str) -> None:
    """Its own exceptions stay; a network's range is none to the libraries."""
    given = {name: "http://proxy.corp.example:3128", "NO_PROXY": "corp.example,127.0.0.0/8"}
    done = run({**given, "no_proxy": given["NO_PROXY"], "DIRECT_HOSTS": SERVICES}, sys.executable, "-c", ASK)
    assert done.stdout.splitlines() == [
        "server:4200 False False",
        "127.0.0.1:4200 False False",
        "x.corp.example False False",
        "yeedu.example True True",
    ], done.stderr
    without = run({**given, "no_proxy": given["NO_PROXY"]}, sys.executable, "-c", ASK)
    assert without.stdout.startswith("server:4200 True True\n127.0.0.1:4200 True True\n")


def test_without_a_proxy_nothing_is_said_of_one() -> None:
    assert "server" not in run({"DIRECT_HOSTS": SERVICES}, "env").stdout


def test_signals_reach_the_command() -> None:
    with subprocess.Popen(
        [sys.executable, str(LAUNCHER), "sh", "-c", "echo started; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
