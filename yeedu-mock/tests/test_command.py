"""The command, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "yeedu_mock.cli"]
TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("YEEDU_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@contextlib.contextmanager
def started(state: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A served mock and its URL; its whole output is in `state`/output."""
    with (state / "output").open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--state-directory", str(state / "state"), *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://\S+:\d+", line)
        assert url, line + (state / "output").read_text()
        yield process, url[0]
    finally:
        process.kill()
        process.communicate()


def log_in(url: str, password: str) -> dict[str, str]:
    answer = requests.post(f"{url}/api/v1/login", json={"username": "demo", "password": password}, timeout=90)
    assert answer.status_code == 200, answer.text
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    requests.post(f"{url}/api/v1/user/select/{TENANT}", headers=headers, timeout=90)
    return headers


def processes_of(state: Path) -> list[int]:
    """Processes that run in this mock's state directory."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(state):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--port", "http"], {}, "--port"),
        (["--port", "70000"], {}, "YEEDU_MOCK_PORT"),
        ([], {"YEEDU_MOCK_PORT": "-1"}, "YEEDU_MOCK_PORT"),
        (["--external-url", "localhost:8088"], {}, "--external-url"),
        (["--external-url", "http://host:port"], {}, "--external-url"),
        ([], {"YEEDU_MOCK_AUTH_TYPE": "KERBEROS"}, "YEEDU_MOCK_AUTH_TYPE"),
        (["--password-file", "/does/not/exist"], {}, "/does/not/exist"),
        (["--password-file", "/dev/null"], {}, "empty"),
        (["--password-file", "/etc/hostname"], {"YEEDU_MOCK_PASSWORD": "x"}, "not both"),
        (["--spare-kernels", "1.5"], {}, "--spare-kernels"),
        (["--job-time-limit", "nan"], {}, "--job-time-limit"),
        (["--stop-delay", "-1"], {}, "--stop-delay"),
        (["--control", "maybe"], {}, "--control"),
        (["--switches", "{"], {}, "not JSON"),
        (["--switches", '{"list_oder": 1}'], {}, "did you mean list_order?"),
        ([], {"YEEDU_MOCK_SWITCHES": "[]"}, "YEEDU_MOCK_SWITCHES"),
        (["--username", " demo"], {}, "--username"),
        (["--username", "\udcff"], {}, "--username"),
        (["--external-url", "http://host:0"], {}, "--external-url"),
        (["--external-url", "http://a host"], {}, "--external-url"),
        (["--password-file", sys.executable], {}, "UTF-8"),
        (["--state-directory", "~nobody-of-that-name"], {}, "--state-directory"),
        (["--host", "a..b"], {}, "--host"),
        ([], {"YEEDU_MOCK_PASSWORD": "\udcff"}, "YEEDU_MOCK_PASSWORD"),
        (["--allowed-hosts", "http://yeedu.example.com"], {}, "--allowed-hosts"),
        ([], {"YEEDU_MOCK_ALLOWED_HOSTS": "yeedu.example.com:8088"}, "--allowed-hosts"),
        (["--tls-certificate", "/does/not/exist"], {}, "--tls-certificate"),
        (["--tls-certificate", "/etc/hostname"], {}, "--tls-certificate"),
        ([], {"YEEDU_MOCK_TLS_KEY": "/etc/hostname"}, "--tls-certificate"),
        (["--state-directory", "/proc/none"], {"YEEDU_MOCK_PORT": "0"}, "/proc/none"),
        (["--host", "192.0.2.1"], {"YEEDU_MOCK_PORT": "0"}, "192.0.2.1"),
    ],
)
def test_wrong_option_is_refused_with_one_sentence_that_names_it(tmp_path, arguments, environment, named):
    ended = run(*arguments, **({"YEEDU_MOCK_STATE_DIRECTORY": str(tmp_path)} | environment))
    assert ended.returncode == 2
    assert ended.stderr.startswith("yeedu-mock: ")
    assert ended.stderr.count("\n") == 1
    assert named in ended.stderr


def test_database_that_is_none_is_refused_with_one_sentence(tmp_path):
    (tmp_path / "state.db").write_text("no database\n" * 100)
    ended = run("--port", "0", "--state-directory", str(tmp_path))
    assert ended.returncode == 2
    assert "state.db" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_key_with_a_pass_phrase_is_refused_and_the_phrase_not_asked_for(certificate, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )
    (tmp_path / "key.pem").write_bytes(key)
    ended = run("--tls-certificate", str(certificate), "--tls-key", str(tmp_path / "key.pem"))
    assert ended.returncode == 2
    assert "pass phrase" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_port_in_use_is_refused_with_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("--port", str(taken.getsockname()[1]), "--state-directory", str(tmp_path))
    assert ended.returncode == 2
    assert "Cannot listen on 127.0.0.1:" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_password_cannot_be_given_where_process_lists_show_it():
    ended = run("--password", "x")
    assert ended.returncode == 2
    assert "unrecognized arguments" in ended.stderr


def test_generated_password_is_in_a_private_file_and_survives_a_restart(tmp_path):
    password = ""
    for _ in range(2):
        with started(tmp_path, "--spare-kernels", "0") as (process, url):
            assert process.stdout is not None
            path = Path(process.stdout.readline().split()[-1])
            assert path.stat().st_mode & 0o777 == 0o600
            assert password in {"", path.read_text().strip()}
            password = path.read_text().strip()
            log_in(url, password)
        assert password not in (tmp_path / "output").read_text()


def test_all_addresses_are_those_of_both_families(tmp_path, until):
    with started(tmp_path, "--host", "::") as (_, url):
        port = url.rpartition(":")[2]
        until(lambda: run("--check", "--port", port, "--host", "::").returncode == 0)
        for host in ("127.0.0.1", "[::1]"):
            assert requests.get(f"http://{host}:{port}/healthCheck", timeout=90).ok


def test_check_tells_whether_a_mock_is_healthy(tmp_path, until):
    with started(tmp_path, "--spare-kernels", "0") as (_, url):
        port = url.rpartition(":")[2]
        until(lambda: run("--check", "--port", port).returncode == 0)
    ended = run("--check", "--port", port)
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr


def test_sigterm_ends_jobs_and_kernels_and_the_state_is_there_again(tmp_path, until):
    with started(tmp_path, YEEDU_MOCK_PASSWORD="secret-word") as (process, url):
        headers = log_in(url, "secret-word")
        api = f"{url}/api/v1/workspace/1"
        job = requests.post(f"{api}/spark/job/run", json={"job_id": 103}, headers=headers, timeout=90).json()
        body = {"notebook_id": 201}
        notebook = requests.post(f"{api}/notebook/run", json=body, headers=headers, timeout=90).json()
        for kind, started_run in (("spark/job", job), ("notebook", notebook)):
            path = f"{api}/{kind}/run/{started_run['run_id']}"
            until(
                lambda p=path: requests.get(p, headers=headers, timeout=90).json()["run_status"] == "RUNNING"
            )
        assert len(processes_of(tmp_path)) >= 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0
        until(lambda: processes_of(tmp_path) == [])
    with started(tmp_path, "--spare-kernels", "0", YEEDU_MOCK_PASSWORD="secret-word") as (_, url):
        answer = requests.get(
            f"{url}/api/v1/workspace/1/spark/job/run/{job['run_id']}", headers=headers, timeout=90
        )
        assert answer.json()["run_status"] == "TERMINATED", "the session and the run have survived"


def test_nothing_outlives_a_mock_that_is_killed_outright(tmp_path, until):
    with started(tmp_path, "--spare-kernels", "1", YEEDU_MOCK_PASSWORD="secret-word") as (process, url):
        headers = log_in(url, "secret-word")
        api = f"{url}/api/v1/workspace/1"
        requests.post(f"{api}/spark/job/run", json={"job_id": 103}, headers=headers, timeout=90)
        until(lambda: len(processes_of(tmp_path)) >= 2)
        process.kill()
        until(lambda: processes_of(tmp_path) == [])


def test_no_token_and_no_password_reaches_the_log_or_the_database(tmp_path):
    with started(tmp_path, "--spare-kernels", "0", YEEDU_MOCK_PASSWORD="secret-word") as (process, url):
        headers = log_in(url, "secret-word")
        token = headers["Authorization"].split()[1]
        path = f"{url}/api/v1/workspace/1/notebook/run/1/kernel/ws"
        requests.get(path, params={"yeedu_session": token}, headers=headers, timeout=90)
        requests.get(f"{path}/yeedu_session/{token}", headers=headers, timeout=90)
        requests.post(f"{url}/api/v1/login", data='{"username": "demo", "password": "secret-wo', timeout=90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0
    log = (tmp_path / "output").read_text()
    assert "yeedu_session=***" in log
    assert "yeedu_session/***" in log
    kept = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
    for secret in (token, "secret-wo"):
        assert secret not in log
        assert secret.encode() not in kept


def test_external_url_is_the_base_of_every_url_handed_out(tmp_path):
    with started(tmp_path, "--spare-kernels", "0", "--external-url", "http://mock.test:1/") as (_, url):
        answer = requests.get(url, headers={"Accept": "application/json"}, timeout=90).json()
    examples = json.dumps(answer["examples"])
    assert url not in examples
    assert answer["examples"]["v2"]["job"] == f"http://mock.test:1/tenant/{TENANT}/workspace/1/spark/job/101"
