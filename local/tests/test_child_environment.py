"""What the platform's processes inherit."""

import os
from pathlib import Path

from local.processes.child_environment import child_environment

PROGRAMS = Path("/venv/bin")


def test_private_variables_do_not_pass() -> None:
    environment = child_environment(
        {
            "HOME": "/home/me",
            "AWS_SECRET_ACCESS_KEY": "hidden",
            "GITHUB_TOKEN": "hidden",
            "PREFECT_API_KEY": "hidden",
            "PREFECT_API_URL": "https://elsewhere.example/api",
            "PYTHONPATH": "/mine",
            "VIRTUAL_ENV": "/other",
            "YEEDU_PASSWORD": "hidden",
        },
        PROGRAMS,
    )
    assert environment.keys() == {"HOME", "PATH", "LANG", "NO_PROXY", "no_proxy", "PYTHONUNBUFFERED"}


def test_programs_of_the_environment_come_first() -> None:
    assert child_environment({"PATH": "/usr/bin"}, PROGRAMS)["PATH"] == f"/venv/bin{os.pathsep}/usr/bin"


def test_language_certificates_and_proxies_pass() -> None:
    given = {
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C",
        "TZ": "UTC",
        "SSL_CERT_FILE": "/ca",
        "https_proxy": "http://p",
    }
    assert given.items() <= child_environment(given, PROGRAMS).items()


def test_parts_of_the_platform_are_never_asked_through_a_proxy() -> None:
    environment = child_environment({"HTTP_PROXY": "http://proxy", "NO_PROXY": "intranet.example"}, PROGRAMS)
    assert environment["NO_PROXY"] == "intranet.example,localhost,127.0.0.1,::1"
    assert environment["no_proxy"] == environment["NO_PROXY"]
