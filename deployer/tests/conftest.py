"""A real Prefect server with authentication, real git repositories, and the deployer against both."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from tests.prefect_process import PrefectProcess
from tests.tls_server import self_signed
from yeedu_deployer.applied.apply import Deployer
from yeedu_deployer.declared.desired import Files
from yeedu_deployer.inspection.inspector import FlowInspector
from yeedu_deployer.report import Report
from yeedu_deployer.server import Lookup
from yeedu_deployer.settings import Configuration

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))

from declared import POOLS

AUTH_STRING = "admin:canary-of-the-auth-string"
FLOW = '''
from prefect import flow

@flow(name="{name}", log_prints=True)
def run(message: str = "hello", count: int = 1):
    """Says something."""
    print(message)
'''


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": AUTH_STRING}


@dataclass
class GitRepository:
    """A real repository with the flows of a test."""

    path: Path
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.path.as_uri()
        self.git("init", "--quiet", "--initial-branch=main", str(self.path))

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=self.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        """Write files and commit them; returns the commit."""
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")
        return self.git("rev-parse", "HEAD")

    def add_flows(self, *names: str) -> str:
        return self.commit({f"flows/{name.replace('-', '_')}.py": FLOW.format(name=name) for name in names})


@dataclass
class Platform:
    """The deployer, run in this process against the test's server and repository."""

    client: SyncPrefectClient
    server: Server
    repository: GitRepository
    inspector: FlowInspector
    folder: Path

    def apply(
        self,
        yaml: str,
        *,
        pools: str = POOLS,
        alerts: str = "",
        environments: str = "",
        environment: dict[str, str] | None = None,
        plan: bool = False,
        chosen: str = "",
        only: Sequence[str] = (),
        deployments_only: bool = False,
    ) -> Report:
        deployer = self.deployer(
            yaml,
            {"work-pools.yaml": pools, "alerts.yaml": alerts, "environments.yaml": environments},
            environment or {},
            plan_only=plan,
            chosen=chosen,
            only=only,
            deployments_only=deployments_only,
        )
        return deployer.run()

    def deployer(
        self,
        yaml: str,
        files: dict[str, str],
        environment: dict[str, str],
        *,
        plan_only: bool,
        chosen: str = "",
        only: Sequence[str] = (),
        deployments_only: bool = False,
    ) -> Deployer:
        for name, text in {"prefect.yaml": yaml, **files}.items():
            (self.folder / name).unlink(missing_ok=True)
            if text:
                (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
        variables = {**self.server.environment, "FLOWS_GIT_URL": self.repository.url, **environment}
        lookup = Lookup(self.client)
        desired = Files(self.folder / "prefect.yaml").read(
            variables, of_environment=chosen, only=only, deployments_only=deployments_only, lookup=lookup
        )
        deployer = Deployer(
            self.client,
            Configuration.from_environment(variables),
            variables,
            self.inspector,
            desired,
            plan_only=plan_only,
            deployments_only=deployments_only,
        )
        deployer.report.hide(lookup.secrets)
        return deployer

    def outcomes(self, report: Report, kind: str = "deployment") -> dict[str, str]:
        return {row.name: row.outcome.value for row in report.rows if row.kind == kind}

    def secret(self, name: str, value: object) -> Path:
        """Write a secret file for a `*_FILE` variable."""
        file = self.folder / name
        file.write_text(f"{value}\n", encoding="utf-8")
        return file

    def work_once(self, **variables: str) -> str:
        """Let a real worker run what is due, and return what it says; `variables` join its environment."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        command = ["prefect", "worker", "start", "--pool=yeedu-pool", "--name=test", "--run-once"]
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(home),
                "FLOWS_GIT_URL": self.repository.url,
                **variables,
                **self.server.environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        return done.stdout + done.stderr


def wait_for(read: Callable[[], object], what: str, timeout_seconds: float = 60) -> object:
    """Poll until something is there; fails with what was waited for."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := read()):
        assert time.monotonic() < deadline, f"waited {timeout_seconds} seconds for {what}"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    return wait_for


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with PrefectProcess(
        tmp_path_factory.mktemp("prefect-server"),
        {
            "PREFECT_SERVER_API_AUTH_STRING": AUTH_STRING,
            "PREFECT_API_AUTH_STRING": AUTH_STRING,
            # What the server notices by itself, it notices soon.
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "2",
        },
    ) as process:
        yield Server(process.url)


@pytest.fixture(scope="session")
def inspector() -> Iterator[FlowInspector]:
    with FlowInspector() as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that signed itself."""
    return self_signed(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    (tmp_path / "repository").mkdir()
    return GitRepository(tmp_path / "repository")


@pytest.fixture
def client(server: Server) -> Iterator[SyncPrefectClient]:
    """A client of the server, which is emptied first."""
    settings = {
        PREFECT_API_URL: server.url,
        PREFECT_API_AUTH_STRING: AUTH_STRING,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
    }
    with temporary_settings(settings), get_client(sync_client=True) as opened:
        for flow in opened.read_flows():
            opened.delete_flow(flow.id)
        for document in opened.read_block_documents():
            opened.delete_block_document(document.id)
        for automation in opened.read_automations():
            opened.delete_automation(automation.id)
        for pool in opened.read_work_pools():
            opened.delete_work_pool(pool.name)
        for variable in opened.read_variables():
            opened.delete_variable_by_name(variable.name)
        yield opened


@pytest.fixture
def platform(
    client: SyncPrefectClient,
    server: Server,
    repository: GitRepository,
    inspector: FlowInspector,
    tmp_path: Path,
) -> Platform:
    repository.add_flows("one", "two")
    return Platform(client, server, repository, inspector, tmp_path)
