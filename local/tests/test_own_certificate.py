"""Installations and builds from a mirror of the package index, with a login and an own CA's certificate."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.errors import CommandError
from local.install.packages import own_certificate
from local.settings.platform import ROOT, Settings
from tests.package_index import add_wheel, serve_index
from tests.platforms import copy_checkout, free_port
from tests.tls_server import private_authority

NOBODY = "http://127.0.0.1:9/simple"  # where the public index would be, which this company does not reach
PASSWORD = "canary-of-the-index"
LOCKS = ("server.txt", "deployer.txt", "yeedu-mock.txt", "local.txt", "warehouse.txt", "dev.txt")


@dataclass(frozen=True)
class Company:
    """A checkout whose locks ask for one small package, and the one index that has it.

    Attributes:
        checkout: The copy.
        certificate: The CA's, in PEM form.
        index: Its address, with a login.
        environment: Lets pip and uv ask once; another index than that one does not answer.
    """

    checkout: Path
    certificate: Path
    index: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with uv, which every installation begins with."""
    folder = tmp_path_factory.mktemp("index")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    lock = ROOT / "requirements" / "uv.txt"
    subprocess.run([*download, "--dest", str(folder / "uv"), "--requirement", str(lock)], check=True)
    return folder


@pytest.fixture
def company(index: Path, tmp_path: Path) -> Iterator[Company]:
    checkout = tmp_path / "checkout"
    copy_checkout(checkout)
    line = add_wheel(index, "tiny")
    for lock in LOCKS:
        (checkout / "requirements" / lock).write_text(line, encoding="utf-8")
    certificate, of_server = private_authority(tmp_path)
    with serve_index(index, of_server, f"reader:{PASSWORD}") as address:
        others = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        only = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": NOBODY,
            "PIP_RETRIES": "0",
            "PIP_NO_CACHE_DIR": "1",
        }
        only |= {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": NOBODY, "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
        yield Company(checkout, certificate, address, {**others, **only})


def installed(company: Company, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "install"],
        cwd=company.checkout,
        env={**company.environment, "PACKAGE_INDEX_URL": company.index, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_installation_trusts_the_own_ca_only_when_told(company: Company) -> None:
    without = installed(company)
    assert without.returncode == 1
    assert "make install: installing uv failed" in without.stderr
    only_pip = installed(company, REQUESTS_CA_BUNDLE=str(company.certificate))
    assert only_pip.returncode == 1
    assert "make install: installing the locked packages failed" in only_pip.stderr
    done = installed(company, CA_CERT_FILE=str(company.certificate))
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in "".join(run.stdout + run.stderr for run in (without, only_pip, done))
    python = company.checkout / ".venv" / "bin" / "python"
    assert subprocess.check_output([python, "-c", "import tiny; print(tiny.VERSION)"], text=True) == "1.0\n"


@pytest.mark.docker
def test_build_asks_the_index_and_trusts_the_own_ca_when_told_and_keeps_nothing_of_them(
    company: Company,
) -> None:
    """The first stage of the images is built, in which pip installs uv, and uv the packages."""
    dockerfile = company.checkout / "server" / "Dockerfile"
    settings = f"ENV PIP_INDEX_URL={NOBODY} PIP_RETRIES=0 UV_DEFAULT_INDEX={NOBODY} UV_HTTP_RETRIES=0 "
    dockerfile.write_text(dockerfile.read_text().replace("ENV ", settings, 1))
    image = f"yeedu-prefect-test-{free_port()}"
    build = "{target: build, network: host}"  # the index is on this machine's loopback interface
    override = f"services: {{secrets: {{image: {image}, build: {build}}}}}\n"
    (company.checkout / "override.yaml").write_text(override)

    def built(certificate: str, index: str = company.index) -> subprocess.CompletedProcess[str]:
        files = ["-f", "docker-compose.yaml", "-f", "override.yaml"]
        settings = f"CA_CERT_FILE={certificate}\nPACKAGE_INDEX_URL={index}\n"
        (company.checkout / ".env").write_text(settings)
        return subprocess.run(
            ["docker", "compose", *files, "build", "secrets"],
            cwd=company.checkout,
            env={**os.environ, "COMPOSE_PROJECT_NAME": image},
            capture_output=True,
            text=True,
            check=False,
        )

    without = built("")
    assert without.returncode
    assert re.search("certificate verify failed|invalid peer certificate", without.stdout + without.stderr)
    elsewhere = built(str(company.certificate), index="")
    assert elsewhere.returncode
    assert "127.0.0.1" in elsewhere.stdout + elsewhere.stderr
    try:
        done = built(str(company.certificate))
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in "".join(run.stdout + run.stderr for run in (without, done))
        lines = [company.certificate.read_bytes().splitlines()[2], PASSWORD.encode()]
        save = ["docker", "save", image]
        with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
            assert saving.stdout
            before = b""
            while part := saving.stdout.read(1 << 20):
                for line in lines:
                    assert line not in before + part
                before = part[-max(map(len, lines)) :]
        assert saving.returncode == 0
    finally:
        subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)


def test_index_that_is_no_address_is_refused_and_not_shown(company: Company) -> None:
    done = installed(company, PACKAGE_INDEX_URL=f"reader:{PASSWORD}@packages.example.com")
    assert done.returncode == 1
    assert "make install: PACKAGE_INDEX_URL is not an address; it looks like https://" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_ca_file_that_is_not_there_or_holds_none_is_named(tmp_path: Path) -> None:
    assert own_certificate(Settings({})) is None
    assert own_certificate(Settings({"CA_CERT_FILE": os.devnull})) is None
    with pytest.raises(CommandError, match="CA_CERT_FILE=/nonexistent: there is no such file"):
        own_certificate(Settings({"YEEDU_SSL_CERT_FILE": "/nonexistent"}))
    file = tmp_path / "ca.der"
    file.write_bytes(b"\x30\x82")
    with pytest.raises(CommandError, match=rf"no certificate in PEM form .* \(it is {file}\)"):
        own_certificate(Settings({"CA_CERT_FILE": str(file)}))
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"],
        cwd=ROOT,
        env=os.environ | {"CA_CERT_FILE": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "make up: CA_CERT_FILE=/nonexistent: there is no such file\n"
