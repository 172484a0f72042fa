"""Installations and builds where the package index has a certificate of the company's own CA."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.errors import CommandError
from local.knobs import ROOT, Knobs
from local.packages import own_certificate
from tests.package_index import add_wheel, serve_index
from tests.platforms import copy_checkout, free_port
from tests.tls_server import private_authority

LOCKS = ("server.txt", "deployer.txt", "yeedu-mock.txt", "local.txt", "warehouse.txt", "dev.txt")


@dataclass(frozen=True)
class Company:
    """A checkout whose locks ask for one small package, and the one index that has it.

    Attributes:
        checkout: The copy.
        certificate: The CA's, in PEM form.
        environment: Lets pip and uv ask that index alone, once.
    """

    checkout: Path
    certificate: Path
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
    with serve_index(index, of_server) as address:
        others = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        only = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": address,
            "PIP_RETRIES": "0",
            "PIP_NO_CACHE_DIR": "1",
        }
        only |= {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": address, "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
        yield Company(checkout, certificate, {**others, **only})


def installed(company: Company, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "install"],
        cwd=company.checkout,
        env={**company.environment, **variables},
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
    python = company.checkout / ".venv" / "bin" / "python"
    assert subprocess.check_output([python, "-c", "import tiny; print(tiny.VERSION)"], text=True) == "1.0\n"


@pytest.mark.docker
def test_build_trusts_the_own_ca_only_when_told_and_keeps_nothing_of_it(company: Company) -> None:
    """The first stage of the images is built, in which pip installs uv, and uv the packages."""
    dockerfile = company.checkout / "server" / "Dockerfile"
    address = company.environment["UV_DEFAULT_INDEX"]
    settings = f"ENV PIP_INDEX_URL={address} PIP_RETRIES=0 UV_DEFAULT_INDEX={address} UV_HTTP_RETRIES=0 "
    dockerfile.write_text(dockerfile.read_text().replace("ENV ", settings, 1))
    image = f"yeedu-prefect-test-{free_port()}"
    build = "{target: build, network: host}"  # the index is on this machine's loopback interface
    override = f"services: {{secrets: {{image: {image}, build: {build}}}}}\n"
    (company.checkout / "override.yaml").write_text(override)

    def built(certificate: str) -> subprocess.CompletedProcess[str]:
        files = ["-f", "docker-compose.yaml", "-f", "override.yaml"]
        return subprocess.run(
            ["docker", "compose", *files, "build", "secrets"],
            cwd=company.checkout,
            env={**os.environ, "CA_CERT_FILE": certificate, "COMPOSE_PROJECT_NAME": image},
            capture_output=True,
            text=True,
            check=False,
        )

    without = built("")
    assert without.returncode
    assert re.search("certificate verify failed|CERTIFICATE_VERIFY_FAILED", without.stdout + without.stderr)
    try:
        done = built(str(company.certificate))
        assert done.returncode == 0, done.stdout + done.stderr
        line = company.certificate.read_bytes().splitlines()[2]
        save = ["docker", "save", image]
        with subprocess.Popen(save, stdout=subprocess.PIPE) as saving:
            assert saving.stdout
            before = b""
            while part := saving.stdout.read(1 << 20):
                assert line not in before + part
                before = part[-len(line) :]
        assert saving.returncode == 0
    finally:
        subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)


def test_ca_file_that_is_not_there_or_holds_none_is_named(tmp_path: Path) -> None:
    assert own_certificate(Knobs({})) is None
    assert own_certificate(Knobs({"CA_CERT_FILE": os.devnull})) is None
    with pytest.raises(CommandError, match="CA_CERT_FILE=/nonexistent: there is no such file"):
        own_certificate(Knobs({"YEEDU_SSL_CERT_FILE": "/nonexistent"}))
    file = tmp_path / "ca.der"
    file.write_bytes(b"\x30\x82")
    with pytest.raises(CommandError, match=rf"no certificate in PEM form .* \(it is {file}\)"):
        own_certificate(Knobs({"CA_CERT_FILE": str(file)}))
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
