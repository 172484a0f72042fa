"""The definition of every local process: its command, environment and health check.

The variables are those of ``docker-compose.yaml``, as a test checks; only what is specific to containers
(host names, mounts, the database's driver) differs.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.install.packages import extra_locks
from local.install.virtual_environment import PROGRAMS
from local.processes import warehouse as postgres
from local.processes.service import Service
from local.processes.sources import SOURCES
from local.release.version import platform_version
from local.settings.platform import ROOT, Settings

STATE = ROOT / ".local"
SECRETS = STATE / "secrets"
UI = STATE / "ui"
WAREHOUSE = STATE / "warehouse-data"
_TENANT = "tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/spark"


def server(settings: Settings) -> Service:
    """Return the Prefect server, on SQLite."""
    environment = {
        **_prefect("server"),
        **_certificates(settings),
        "PLATFORM_VERSION": settings.get("PLATFORM_VERSION", platform_version()),
        "PREFECT_SERVER_ENCRYPTION_KEY_FILE": str(SECRETS / "server" / "encryption-key"),
        "PREFECT_SERVER_API_AUTH_STRING_FILE": str(SECRETS / "api" / "auth-string"),
        "PREFECT_API_AUTH_STRING_FILE": str(SECRETS / "api" / "auth-string"),
        "PREFECT_ALLOWED_HOSTS": settings.get("PREFECT_ALLOWED_HOSTS"),
        "PREFECT_UI_URL": settings.ui_url,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": settings.ui_url,
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(UI),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": settings.get("RETENTION_SECONDS", "7776000"),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{settings.get('EVENT_RETENTION_SECONDS', '604800')}S",
    }
    address, port = settings.bind_address, settings.prefect_port
    serve = str(ROOT / "server" / "serve.py")
    command = with_secrets("python", serve, "--host", address, "--port", str(port))
    return Service(
        "server", command, environment, port, f"{settings.api_url}/health/services", SOURCES["server"]
    )


def yeedu_mock(settings: Settings) -> Service:
    """Return the mock Yeedu."""
    port = settings.mock_port
    environment = {
        "YEEDU_MOCK_HOST": "127.0.0.1",
        "YEEDU_MOCK_PORT": str(port),
        "YEEDU_MOCK_STATE_DIRECTORY": str(STATE / "yeedu-mock"),
        "YEEDU_MOCK_PASSWORD_FILE": str(SECRETS / "mock" / "yeedu-password"),
        "YEEDU_MOCK_EXTERNAL_URL": f"http://localhost:{port}",
        "YEEDU_MOCK_AUTH_TYPE": settings.get("YEEDU_MOCK_AUTH_TYPE", "LDAP"),
        "YEEDU_MOCK_ALLOWED_HOSTS": settings.get("YEEDU_MOCK_ALLOWED_HOSTS", ""),
    }
    return Service(
        "yeedu-mock",
        [str(PROGRAMS / "yeedu-mock")],
        environment,
        port,
        f"http://127.0.0.1:{port}/healthCheck",
        SOURCES["yeedu-mock"],
    )


def warehouse(port: int) -> Service:
    """Return the Postgres that flows load into."""
    return Service(
        "warehouse",
        postgres.command(WAREHOUSE, port),
        {},
        port,
        ready_command=postgres.ready_command(port),
    )


@dataclass(frozen=True)
class Order:
    """What the deployer is asked to do.

    Attributes:
        command: ``apply``, ``plan`` or ``status``.
        environment: An environment of environments.yaml; empty for the platform's own deployments.
        only: The deployments to handle; none for all.
        options: Further options of the deployer.
    """

    command: str = "apply"
    environment: str = ""
    only: Sequence[str] = ()
    options: Sequence[str] = ()

    @property
    def arguments(self) -> list[str]:
        """The deployer's command line."""
        environment = ["--environment", self.environment] if self.environment else []
        return [self.command, *self.options, *environment, *(["--only", *self.only] if self.only else [])]


def deployer(settings: Settings, flows_url: str, warehouse_url: str, order: Order | None = None) -> Service:
    """Return the one-shot that registers the deployments; `warehouse_url` is empty without a warehouse."""
    mock = f"http://localhost:{settings.mock_port}"
    environment = {
        **settings.own_variables(),
        **_prefect("deployer"),
        **deployer_paths(settings),
        **_api(settings),
        **_certificates(settings),
        **_flows(settings, flows_url),
        "FLOWS_GIT_TOKEN_FILE": str(SECRETS / "deployer" / "git-token"),
        "GITHUB_TOKEN_FILE": str(SECRETS / "deployer" / "github-token"),
        "WAREHOUSE_URL": warehouse_url,
        "WAREHOUSE_PASSWORD_FILE": str(SECRETS / "deployer" / "warehouse-password"),
        "ALERT_WEBHOOK_URL_FILE": str(SECRETS / "deployer" / "alert-webhook-url"),
        "ALERT_SLACK_WEBHOOK_URL_FILE": str(SECRETS / "deployer" / "alert-slack-webhook-url"),
        "ALERT_SENDGRID_API_KEY_FILE": str(SECRETS / "deployer" / "alert-sendgrid-api-key"),
        "ALERT_EMAIL_FROM": settings.get("ALERT_EMAIL_FROM"),
        "ALERT_EMAIL_TO": settings.get("ALERT_EMAIL_TO"),
        "YEEDU_USERNAME": settings.get("YEEDU_USERNAME", "demo"),
        "YEEDU_PASSWORD_FILE": str(SECRETS / "deployer" / "yeedu-password"),
        "YEEDU_TOKEN_FILE": str(SECRETS / "deployer" / "yeedu-token"),
        "YEEDU_VERIFY_SSL": settings.get("YEEDU_VERIFY_SSL", "true"),
        "YEEDU_JOB_URL": _yeedu_url(settings, "YEEDU_JOB_URL", f"{mock}/{_TENANT}/job/101"),
        "YEEDU_NOTEBOOK_URL": _yeedu_url(settings, "YEEDU_NOTEBOOK_URL", f"{mock}/{_TENANT}/notebook/201"),
        "YEEDU_HEALTH_URL": _yeedu_url(settings, "YEEDU_HEALTH_URL", f"{mock}/healthCheck"),
    }
    return Service("deployer", with_secrets("deployer", *(order or Order()).arguments), environment)


def deployer_paths(settings: Settings) -> dict[str, str]:
    """Return the variables that say where the deployer finds what to register."""
    file = settings.get("PREFECT_FILE")
    return {
        "PREFECT_FILE": str(Path(file).expanduser()) if file else "",
        "CONFIG_DIR": str(settings.config_dir()),
        "CHECKOUT_DIR": str(ROOT),
    }


def worker(settings: Settings, flows_url: str, port: int) -> Service:
    """Return the Linux worker, whose health endpoint gets a port of its own."""
    environment = {
        **settings.own_variables(),
        **_prefect("worker"),
        **_api(settings),
        **_certificates(settings),
        **_flows(settings, flows_url),
        "WORKER_NAME": settings.get("WORKER_NAME", "linux-worker"),
        "WORKER_QUEUES": settings.get("WORKER_QUEUES"),
        "WORKER_LIMIT": settings.get("WORKER_LIMIT", "10"),
        "WORKER_GRACE_SECONDS": settings.get("WORKER_GRACE_SECONDS", "30"),
        "WORKER_HUNG_SECONDS": settings.get("WORKER_HUNG_SECONDS", "120"),
        "WORKER_RUN_PROCESSES": settings.get("WORKER_RUN_PROCESSES", "1000"),
        "WORKER_RUN_FILE_MEGABYTES": settings.get("WORKER_RUN_FILE_MEGABYTES", "10240"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "WORKER_PREFORK": settings.get("WORKER_PREFORK", "true"),
        "WORKER_CHECKOUT_CACHE_MEGABYTES": settings.get("WORKER_CHECKOUT_CACHE_MEGABYTES", "1024"),
        "RESULT_RETENTION_SECONDS": settings.get("RESULT_RETENTION_SECONDS", "7776000"),
        "PREFECT_WORKER_QUERY_SECONDS": settings.get("WORKER_QUERY_SECONDS", "2"),
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(port),
        "YEEDU_UI_URL": settings.given("YEEDU_UI_URL", f"http://localhost:{settings.mock_port}"),
        "DASK_SCHEDULER_ADDRESS": settings.get("DASK_SCHEDULER_ADDRESS"),
    }
    return Service(
        "worker",
        with_secrets("yeedu-worker"),
        environment,
        port,
        f"http://127.0.0.1:{port}/health",
        [*SOURCES["worker"], *extra_locks(settings)],
    )


def rescue(settings: Settings, port: int) -> Service:
    """Return the service that looks after flow runs whose process is gone; it gets a port of its own."""
    environment = {
        **_api(settings),
        "RESCUE_HEARTBEAT_SECONDS": settings.get("RESCUE_HEARTBEAT_SECONDS", "90"),
        "RESCUE_PENDING_SECONDS": settings.get("RESCUE_PENDING_SECONDS", "180"),
        "RESCUE_ATTEMPTS": settings.get("RESCUE_ATTEMPTS", "3"),
        "RESCUE_WORKER_SECONDS": settings.get("RESCUE_WORKER_SECONDS", "86400"),
        "RESCUE_PORT": str(port),
    }
    if settings.other_server:  # others may use it too, and the user's own CA may vouch for it
        environment |= {
            **_certificates(settings),
            "PREFECT_HOME": str(STATE / "rescue"),
            "RESCUE_WORK_POOLS": settings.get("RESCUE_WORK_POOLS", "yeedu-pool,image-pool,windows-pool"),
        }
    return Service(
        "rescue",
        with_secrets("yeedu-rescue"),
        environment,
        port,
        f"http://127.0.0.1:{port}/",
        SOURCES["rescue"],
    )


def yeedu_watch(settings: Settings) -> Service:
    """Return the service that resumes flow runs suspended for a Yeedu run."""
    file = str(STATE / "yeedu-watch" / "round")
    environment = {
        **_prefect("yeedu-watch"),
        **_api(settings),
        **_certificates(settings),
        "YEEDU_WATCH_SECONDS": settings.get("YEEDU_WATCH_SECONDS", "5"),
        "YEEDU_WATCH_FILE": file,
    }
    return Service(
        "yeedu-watch",
        with_secrets("python", "-m", "yeedu_worker.watch"),
        environment,
        sources=SOURCES["worker"],
        ready_command=(str(PROGRAMS / "python"), "-m", "yeedu_worker.watch", "--check", file),
    )


def own_flows_url(settings: Settings) -> str:
    """Return the git address that the user chose; empty for this checkout."""
    url = settings.get("FLOWS_GIT_URL")
    return "" if url == "http://git-server:8080/flows.git" else url


def own_warehouse_url(settings: Settings) -> str:
    """Return the address of the user's own warehouse; empty for the platform's."""
    url = settings.get("WAREHOUSE_URL")
    return "" if url == "postgresql://warehouse@warehouse:5432/warehouse" else url


def _yeedu_url(settings: Settings, name: str, default: str) -> str:
    """Return an address of Yeedu; the mock's name among containers stands for the mock here too."""
    url = settings.get(name, default)
    return url.replace("http://yeedu-mock:8080/", f"http://localhost:{settings.mock_port}/", 1)


def with_secrets(*command: str) -> list[str]:
    """Return a command that turns secret files into settings first, as the images' entrypoint does."""
    launcher = ROOT / "server" / "with_secrets.py"
    return [str(PROGRAMS / "python"), str(launcher), str(PROGRAMS / command[0]), *command[1:]]


def _prefect(name: str) -> dict[str, str]:
    """Return what the images set for every Prefect process."""
    return {
        "PREFECT_HOME": str(STATE / name),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PYTHONTZPATH": "",
        "DO_NOT_TRACK": "1",
    }


def _api(settings: Settings) -> dict[str, str]:
    variables = {
        "PREFECT_API_URL": settings.api_url,
        "PREFECT_UI_URL": settings.ui_url,
        "PREFECT_API_AUTH_STRING_FILE": str(SECRETS / "api" / "auth-string"),
    }
    if not settings.other_server:
        return variables
    if not settings.get("PREFECT_UI_URL"):  # Prefect derives the links from PREFECT_API_URL
        del variables["PREFECT_UI_URL"]
    return {**variables, "PREFECT_API_KEY_FILE": str(SECRETS / "key" / "api-key")}


def _certificates(settings: Settings) -> dict[str, str]:
    return {"CA_CERT_FILE": str(settings.ca_file() or os.devnull)}


def _flows(settings: Settings, url: str) -> dict[str, str]:
    return {
        "FLOWS_GIT_URL": url,
        "FLOWS_GIT_REF": settings.get("FLOWS_GIT_REF"),
        "FLOWS_GIT_SSH_KEY_FILE": str(SECRETS / "git" / "ssh-key"),
        "FLOWS_GIT_KNOWN_HOSTS_FILE": str(SECRETS / "git" / "known-hosts"),
    }
