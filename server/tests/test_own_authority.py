"""A company's own CA: what starts through the launcher trusts it, whichever library it asks with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.git_over_https import GitHandler, git_over_https
from tests.tls_server import private_authority

LAUNCHER = Path(__file__).parents[1] / "with_secrets.py"
LIBRARIES = {
    "urllib": "import urllib.request; urllib.request.urlopen(f'{url}/api/health')",
    "requests": "import requests; requests.get(f'{url}/api/health').raise_for_status()",
    "httpx": "import httpx; httpx.get(f'{url}/api/health').raise_for_status()",
    # Its client says what went wrong instead of raising it.
    "prefect": "from prefect import get_client\n"
    "with get_client(sync_client=True) as client: assert client.api_healthcheck() is None",
    "a process of it": "import subprocess\n"
    "subprocess.run(['git', 'ls-remote', f'{url}/flows/.git'], check=True)",
}


class Handler(GitHandler):
    """A git repository, and a page where Prefect's API says that it is well."""

    def serve(self) -> None:
        if self.path != "/api/health":
            super().serve()
            return
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The CA's certificate, and a server's."""
    return private_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def url(authority: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a certificate of that CA."""
    root = tmp_path_factory.mktemp("repositories")
    subprocess.run(["git", "init", "--quiet", root / "flows"], check=True)
    with git_over_https(authority[1], root, Handler) as server:
        yield f"https://localhost:{server.server_port}"


def run(home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start a command through the launcher, with an environment of its own."""
    environment = {"PATH": os.environ["PATH"], "PREFECT_HOME": str(home), **variables}
    arguments = [sys.executable, str(LAUNCHER), *command]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


def certificates(file: Path) -> list[str]:
    """Return what is between the lines that begin and end a certificate."""
    parts = file.read_text().split("-----BEGIN CERTIFICATE-----")[1:]
    return [part.partition("-----END")[0] for part in parts]


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_trusts_the_own_ca_and_without_it_none(
    library: str, authority: tuple[Path, Path], url: str, tmp_path: Path
) -> None:
    program = f"url = {url!r}\n{LIBRARIES[library]}"
    asked = (sys.executable, "-c", program)
    api = {"PREFECT_API_URL": f"{url}/api", "DO_NOT_TRACK": "1"}
    trusting = run(tmp_path, *asked, CA_CERT_FILE=str(authority[0]), **api)
    assert trusting.returncode == 0, trusting.stderr
    other = run(tmp_path, *asked, CA_CERT_FILE="/dev/null", **api)
    assert other.returncode == 1


def test_the_usual_certificates_stay_trusted_each_once(authority: tuple[Path, Path], tmp_path: Path) -> None:
    """Those of the environment, too; and starting again writes nothing."""
    theirs = private_authority(tmp_path)[0]
    given = {"CA_CERT_FILE": str(authority[0]), "SSL_CERT_FILE": str(theirs)}
    done = run(tmp_path / "home", "env", **given)
    assert done.returncode == 0, done.stderr
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    bundle = tmp_path / "home" / "ca-certificates.pem"
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE")
    assert {variables[name] for name in names} == {str(bundle)}
    assert "CA_CERT_FILE" not in variables
    found = certificates(bundle)
    assert len(found) == len(set(found))
    for file in (authority[0], theirs, Path(certifi.where())):
        assert set(certificates(file)) <= set(found), file
    written = bundle.stat().st_ino
    run(tmp_path / "home", "env", **given)
    assert bundle.stat().st_ino == written


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["missing", "empty", "blank"])
def test_no_ca_changes_nothing(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    done = run(tmp_path / "home", "env", CA_CERT_FILE=str(file))
    assert done.returncode == 0
    assert "CERT" not in done.stdout
    assert not (tmp_path / "home").exists()


def test_what_is_not_a_ca_file_gets_one_sentence(authority: tuple[Path, Path], tmp_path: Path) -> None:
    good = authority[0].read_text()
    file = tmp_path / "ca.pem"
    for content, sentence in (
        (b"\x30\x82\x01\x0a\xff", "holds no certificate in PEM form"),
        (authority[1].read_bytes(), "holds a private key; give a file with the CA's certificates alone"),
        ((good + good.replace("MII", "AAA", 1)).encode(), "certificate 2 of 2 in CA_CERT_FILE is damaged"),
    ):
        file.write_bytes(content)
        done = run(tmp_path / "home", "env", CA_CERT_FILE=str(file))
        assert done.returncode == 1
        assert done.stderr.startswith("with-secrets: ")
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
        assert "PRIVATE KEY" not in done.stderr
    done = run(tmp_path / "home", "env", CA_CERT_FILE=str(tmp_path))
    assert "CA_CERT_FILE cannot be read by user" in done.stderr
    file.write_bytes(good.replace("\n", "\r\n").encode() + b"# caf\xe9\r\n")
    assert run(tmp_path / "home", "env", CA_CERT_FILE=str(file)).returncode == 0
