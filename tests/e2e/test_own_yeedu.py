"""A Yeedu of the team's own with single sign-on, and git, both behind a private CA: two settings are enough.

In containers this is a company where Docker's client has proxies, which it puts into every container.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.git_over_https import git_over_https
from tests.platforms import ROOT, ComposePlatform, LocalPlatform, Platform, commit, copy_checkout, image
from tests.tls_server import private_authority, tls_proxy

pytestmark = [pytest.mark.timeout(1500), pytest.mark.xdist_group("platform")]

SPARK = "tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/spark"
YEEDU = ("run-yeedu-job", "run-yeedu-notebook", "check-yeedu-health", "run-yeedu-pipeline", "published-guide")
GUIDE = (ROOT / "flows" / "tests" / "published_guide_flow.txt").read_text(encoding="utf-8")
# Its logger is Python's own: the last two variables have its lines in the run's log.
DEPLOYMENT = """
  - name: published-guide
    entrypoint: flows/published_guide.py:job_run_flow
    work_pool:
      name: yeedu-pool
      job_variables:
        env:
          PREFECT_LOGGING_EXTRA_LOGGERS: published_guide
          PREFECT_LOGGING_ROOT_LEVEL: INFO
"""
OVERLAY = """
services:
  yeedu-mock:
    environment: {{YEEDU_MOCK_TLS_CERTIFICATE: /run/certificates/server.pem}}
    volumes: [&certificates "{certificates}:/run/certificates:ro"]
  git-over-https:
    image: {image}
    pull_policy: never
    restart: unless-stopped
    entrypoint: [python3, /checkout/tests/git_over_https.py, /run/certificates/server.pem, /, "8443"]
    volumes: [*certificates, "./:/checkout:ro"]
    networks: [platform]
    depends_on: {{git-server: {{condition: service_healthy}}}}
    healthcheck: {{test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 8443))"]}}
  deployer:
    depends_on: {{git-over-https: {{condition: service_started}}}}
"""


# It is nowhere, so that nothing which asks it gets an answer; the exception is the client's own.
PROXIES = dict.fromkeys(("httpProxy", "httpsProxy"), "http://127.0.0.1:9") | {"noProxy": "git-over-https"}


def client_with_proxies(folder: Path) -> str:
    """Make a folder of settings of Docker's client which has the proxies, and all that the user's own has."""
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    folder.mkdir()
    for entry in own.iterdir() if own.is_dir() else ():
        if entry.name != "config.json":
            (folder / entry.name).symlink_to(entry)
    file = own / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    (folder / "config.json").write_text(
        json.dumps(settings | {"proxies": {"default": PROXIES}}), encoding="utf-8"
    )
    return str(folder)


class OwnYeedu:
    """A platform, and a Yeedu and a git server that only a private CA vouches for."""

    def __init__(self, platform: Platform, authority: Path, yeedu: str, git: str) -> None:
        self.platform = platform
        self.authority = authority
        self.yeedu = yeedu
        self.git = git

    def configure(self, **further: str) -> None:
        """Write `.env`."""
        settings = {
            "YEEDU_MOCK_AUTH_TYPE": "AZURE_SSO",
            "YEEDU_JOB_URL": f"{self.yeedu}/{SPARK}/job/101",
            "YEEDU_NOTEBOOK_URL": f"{self.yeedu}/{SPARK}/notebook/201",
            "YEEDU_HEALTH_URL": f"{self.yeedu}/healthCheck",
            **further,
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.platform.checkout / ".env").write_text("".join(lines), encoding="utf-8")

    def token(self) -> str:
        """Log in on Yeedu's page for single sign-on, and return the token that it shows."""
        platform = self.platform
        if isinstance(platform, ComposePlatform):
            password = platform.inside("yeedu-mock", "cat", "/run/platform/mock/yeedu-password")
        else:
            password = (platform.checkout / ".local/secrets/mock/yeedu-password").read_text(encoding="utf-8")
        scheme = "https" if platform.kind == "compose" else "http"
        page = f"{scheme}://localhost:{platform.mock_port}/sso"
        form = {"username": "demo", "password": password}
        shown = requests.post(page, data=form, timeout=30, verify=str(self.authority)).text
        token = re.search(r"eyJ[\w.-]+", shown)
        assert token, shown
        return token[0]


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnYeedu]:
    """One form of the platform before its first start."""
    checkout = tmp_path / "yeedu-prefect"
    copy_checkout(checkout)
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    authority, certificate = private_authority(certificates, "yeedu-mock", "git-over-https")
    with ExitStack() as stack:
        if request.param == "compose":
            platform: Platform = ComposePlatform(checkout)
            overlay = OVERLAY.format(certificates=certificates, image=image("git-server"))
            (checkout / "docker-compose.override.yaml").write_text(overlay, encoding="utf-8")
            platform.must("docker", "compose", "build", "--quiet", timeout_seconds=900)  # without the proxies
            platform.environment["DOCKER_CONFIG"] = client_with_proxies(tmp_path / "client")
            addresses = ("https://yeedu-mock:8080", "https://git-over-https:8443/checkout/.git")
        else:
            platform = LocalPlatform(checkout)
            port = stack.enter_context(tls_proxy(certificate, platform.mock_port))
            git = stack.enter_context(git_over_https(certificate, tmp_path))
            addresses = (
                f"https://localhost:{port}",
                f"https://localhost:{git.server_port}/yeedu-prefect/.git",
            )
        guide = GUIDE.replace("<YEEDU_JOB_URL>", f"{addresses[0]}/{SPARK}/job/101")
        guide = guide.replace("<NAME_OF_CONNECTION_BLOCK_VARIABLE>", "yeedu_connection_details")
        guide = guide.replace("NAME_OF_PASSWORD_BLOCK_VARIABLE", "yeedu_password")
        (checkout / "flows" / "published_guide.py").write_text(guide, encoding="utf-8")
        with (checkout / "deployer" / "prefect.yaml").open("a", encoding="utf-8") as file:
            file.write(DEPLOYMENT)
        commit(checkout, "Add the published guide's flow")
        try:
            yield OwnYeedu(platform, authority, *addresses)
        finally:
            platform.remove()


@pytest.mark.parametrize(
    "own",
    [pytest.param("compose", marks=pytest.mark.docker), pytest.param("local", marks=pytest.mark.long)],
    indirect=True,
)
def test_a_token_and_a_ca_file_are_all_that_an_own_yeedu_needs(own: OwnYeedu) -> None:
    platform = own.platform
    own.configure()
    without = platform.command(sys.executable, "-m", "local", "up", timeout_seconds=400)
    assert without.returncode == 1, without.stdout + without.stderr
    assert f"The TLS certificate of {own.yeedu} is not trusted or not valid" in without.stdout
    assert "(on the platform: CA_CERT_FILE in .env)" in without.stdout
    git = platform.deploy({"FLOWS_GIT_URL": own.git})
    assert git.returncode
    assert (
        f"the git repository {own.git} has a TLS certificate that is not trusted" in git.stdout + git.stderr
    )
    token = own.token()
    (platform.checkout.parent / "token").write_text(f"{token}\n", encoding="utf-8")

    own.configure(YEEDU_TOKEN_FILE="../token", CA_CERT_FILE="../certificates/ca.pem", FLOWS_GIT_URL=own.git)
    platform.up()
    runs = {name: platform.api.start(name) for name in YEEDU}
    for name, run_id in runs.items():
        run = platform.api.finished(run_id)
        log = platform.api.log(run_id)
        assert run["state_type"] == "COMPLETED", f"{name}: {run['state']['message']}\n{log}"
        assert token not in log
    told = platform.api.log_with(runs["published-guide"], "Yeedu job execution completed.")
    assert "Logging in to Yeedu with the token in the block 'yeedu-token', not with a password." in told
    assert "Initializing Yeedu operator..." in told
    steps = platform.api.deployments()["run-yeedu-job"]["pull_steps"]
    assert "FLOWS_GIT_URL" in str(steps)
