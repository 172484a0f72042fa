"""Local processes get what containers get."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.backup.schedule import scheduled_backups
from local.errors import CommandError
from local.processes import services
from local.processes.service import Service
from local.settings.platform import ROOT, Settings
from tests.compose_files import expanded, read

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
# Each variable that the overlay for another server sets; of one without a value, what .env says.
OVERLAY = read((ROOT / "deploy" / "other-server.yaml").read_text(encoding="utf-8"))
FLOWS = "file:///checkout"
WAREHOUSE = "postgresql://warehouse@127.0.0.1:5433/warehouse"
# Another database, which the server prepares itself; the checkout in place of a git-server with a login; and
# names of containers that bypass a proxy, for which there is local/processes/child_environment.py here.
ELSEWHERE = re.compile(
    r"PREFECT_SERVER_DATABASE_\w+|PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START|GIT_CONFIG_\w+|DIRECT_HOSTS"
)
# Given by the images, or a place of their own.
OF_THE_IMAGE = {
    *("PREFECT_HOME", "PREFECT_SERVER_EPHEMERAL_ENABLED", "DO_NOT_TRACK", "PYTHONTZPATH"),
    *("PYTHONPATH", "YEEDU_WATCH_FILE"),
    *("PREFECT_SERVER_UI_STATIC_DIRECTORY", "YEEDU_MOCK_PORT", "YEEDU_MOCK_STATE_DIRECTORY", "RESCUE_PORT"),
}


def built(name: str, settings: Settings) -> Service:
    return {
        "server": lambda: services.server(settings),
        "yeedu-mock": lambda: services.yeedu_mock(settings),
        "deployer": lambda: services.deployer(settings, FLOWS, WAREHOUSE),
        "worker": lambda: services.worker(settings, FLOWS, 8081),
        "rescue": lambda: services.rescue(settings, 8082),
        "yeedu-watch": lambda: services.yeedu_watch(settings),
        "backup": lambda: scheduled_backups(Settings({**settings.values, "COMPOSE_PROFILES": "backup"}))[0],
    }[name]()


def as_on_this_machine(value: str, settings: Settings) -> str:
    """Put the addresses and places of local processes where a container's are."""
    for container, local in (
        ("http://server:4200", f"http://127.0.0.1:{settings.prefect_port}"),
        ("http://yeedu-mock:8080", f"http://localhost:{settings.mock_port}"),
        ("http://git-server:8080/flows.git", FLOWS),
        ("postgresql://warehouse@warehouse:5432/warehouse", WAREHOUSE),
        ("/run/platform", str(services.SECRETS)),
        ("/etc/deployer", str(settings.config_dir())),
        ("/etc/platform", str(ROOT)),
        ("/run/secrets/ca-cert", str(settings.ca_file() or "/dev/null")),
        ("::", "127.0.0.1"),
    ):
        value = value.replace(container, local)
    return value


CHOSEN = {
    "PREFECT_PORT": "18080",
    "YEEDU_MOCK_PORT": "18088",
    "RETENTION_SECONDS": "60",
    "EVENT_RETENTION_SECONDS": "30",
    "WORKER_GRACE_SECONDS": "15",
    "RESCUE_HEARTBEAT_SECONDS": "120",
    "RESCUE_PENDING_SECONDS": "60",
    "RESCUE_ATTEMPTS": "1",
    "RESCUE_WORKER_SECONDS": "0",
    "YEEDU_WATCH_SECONDS": "2",
    "BACKUP_EVERY_SECONDS": "3600",
    "BACKUP_KEEP": "3",
    "WORKER_NAME": "box",
    "RESULT_RETENTION_SECONDS": "60",
    "WORKER_LIMIT": "3",
    "WORKER_HUNG_SECONDS": "10",
    "WORKER_RUN_PROCESSES": "0",
    "WORKER_RUN_FILE_MEGABYTES": "7",
    "WORKER_QUERY_SECONDS": "9",
    "YEEDU_UI_URL": "",
    "YEEDU_USERNAME": "me",
    "YEEDU_VERIFY_SSL": "false",
    "YEEDU_MOCK_AUTH_TYPE": "AZURE_SSO",
    "YEEDU_MOCK_ALLOWED_HOSTS": "yeedu.example",
    "CA_CERT_FILE": "/ca.pem",
    "YEEDU_JOB_URL": "https://yeedu.example:8080/job",
    "FLOWS_GIT_REF": "next",
    "PREFECT_UI_URL": "https://prefect.example",
    "PREFECT_FILE": "repo:prefect.yaml",
    "CONFIG_DIR": "./flows",
}


@pytest.mark.parametrize("values", [{}, CHOSEN], ids=["defaults", "settings"])
@pytest.mark.parametrize(
    "name", ["server", "yeedu-mock", "deployer", "worker", "rescue", "yeedu-watch", "backup"]
)
def test_process_has_the_variables_of_its_container(name: str, values: dict[str, str]) -> None:
    settings = Settings(values)
    container = {
        variable: as_on_this_machine(expanded(str(value), values), settings)
        for variable, value in COMPOSE["services"][name]["environment"].items()
        if not ELSEWHERE.fullmatch(variable) and variable not in OF_THE_IMAGE
    }
    process = {
        variable: value
        for variable, value in built(name, settings).environment.items()
        if variable not in OF_THE_IMAGE
    }
    assert process == container


@pytest.mark.parametrize("ui_url", ["", "https://ui.example"])
@pytest.mark.parametrize("name", ["deployer", "worker", "rescue", "yeedu-watch"])
def test_process_has_the_variables_of_its_container_with_another_server(name: str, ui_url: str) -> None:
    values = {
        "PREFECT_API_URL": "https://prefect.example/api",
        **({"PREFECT_UI_URL": ui_url} if ui_url else {}),
    }
    settings = Settings(values)
    plain, changed = (file["services"][name]["environment"] for file in (COMPOSE, OVERLAY))
    container = {
        variable: as_on_this_machine(expanded(str(value), values), settings)
        for variable, value in {**plain, **changed, "PREFECT_UI_URL": values.get("PREFECT_UI_URL")}.items()
        if value is not None and not ELSEWHERE.fullmatch(variable) and variable not in OF_THE_IMAGE
    }
    process = built(name, settings).environment
    assert {name: value for name, value in process.items() if name not in OF_THE_IMAGE} == container
    assert changed["PREFECT_UI_URL"] is None


def test_own_variables_reach_deployer_and_worker_and_win_over_nothing(tmp_path: Path) -> None:
    """Both forms read one file: an `env_file` of the containers' is below their `environment`."""
    (tmp_path / "flows.env").write_text("TEAM\nBUCKET=s3://${TEAM}-in\nFLOWS_GIT_REF=theirs\n")
    settings = Settings({"CONFIG_DIR": str(tmp_path), "TEAM": "finance", "FLOWS_GIT_REF": "main"})
    for name in ("deployer", "worker"):
        environment = built(name, settings).environment
        assert (environment["TEAM"], environment["BUCKET"]) == ("finance", "s3://finance-in")
        assert environment["FLOWS_GIT_REF"] == "main"
    with_file = {
        name: [expanded(one["path"], {"CONFIG_DIR": "/team"}) for one in service["env_file"]]
        for name, service in COMPOSE["services"].items()
        if "env_file" in service
    }
    having = ("deployer", "worker", "image-worker", "dask-worker")
    assert with_file == {name: ["/team/flows.env"] for name in having}
    before = built("worker", settings).fingerprint()
    (tmp_path / "flows.env").write_text("TEAM=sales\n")
    assert built("worker", settings).fingerprint() != before, "a worker that runs is started anew"


def test_a_folder_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(CommandError, match=r"^CONFIG_DIR=./no-such: there is no such folder$"):
        services.deployer(Settings({"CONFIG_DIR": "./no-such"}), FLOWS, WAREHOUSE)


def test_fingerprint_changes_with_a_setting_and_not_without() -> None:
    first = built("worker", Settings({})).fingerprint()
    assert built("worker", Settings({})).fingerprint() == first
    assert built("worker", Settings({"WORKER_LIMIT": "3"})).fingerprint() != first


def test_fingerprint_changes_with_the_code_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.processes.service.ROOT", tmp_path)
    monkeypatch.setattr("local.install.virtual_environment.ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    code = tmp_path / "src" / "code.py"
    code.write_text("1")
    service = Service("x", ["x"], {}, sources=("src",))
    first = service.fingerprint()
    code.write_text("2")
    assert service.fingerprint() != first


def test_fingerprint_changes_with_a_secret(tmp_path: Path) -> None:
    secret = tmp_path / "auth-string"
    secret.write_text("me:first")
    service = Service("x", ["x"], {"PREFECT_API_AUTH_STRING_FILE": str(secret)})
    first = service.fingerprint()
    secret.write_text("me:second")
    assert service.fingerprint() != first


def test_names_among_the_containers_mean_their_local_counterparts() -> None:
    values = {
        "YEEDU_HEALTH_URL": "http://yeedu-mock:8080/healthCheck",
        "FLOWS_GIT_URL": "http://git-server:8080/flows.git",
    }
    settings = Settings(values)
    assert (
        services.deployer(settings, FLOWS, WAREHOUSE).environment["YEEDU_HEALTH_URL"]
        == "http://localhost:8088/healthCheck"
    )
    assert services.own_flows_url(settings) == ""
    assert (
        services.own_flows_url(Settings({"FLOWS_GIT_URL": "https://git.example/x"}))
        == "https://git.example/x"
    )
    default = COMPOSE["services"]["deployer"]["environment"]["WAREHOUSE_URL"]
    assert services.own_warehouse_url(Settings({"WAREHOUSE_URL": expanded(default, {})})) == ""
    own = "postgresql://me@db.example/analytics"
    assert services.own_warehouse_url(Settings({"WAREHOUSE_URL": own})) == own


def test_an_own_ca_is_a_file_of_the_checkout_or_of_the_machine_under_either_name() -> None:
    files = COMPOSE["secrets"]["ca-cert"]["file"]
    for values, file in (
        ({}, "/dev/null"),
        ({"CA_CERT_FILE": "certificates/ca.pem"}, str(ROOT / "certificates" / "ca.pem")),
        ({"CA_CERT_FILE": "/etc/ca.pem", "YEEDU_SSL_CERT_FILE": "/other.pem"}, "/etc/ca.pem"),
        ({"YEEDU_SSL_CERT_FILE": "/other.pem"}, "/other.pem"),
    ):
        for name in ("server", "deployer", "worker"):
            assert built(name, Settings(values)).environment["CA_CERT_FILE"] == file
        assert str(ROOT / expanded(files, values)) == file


def test_no_secret_is_on_a_command_line_or_in_what_is_printed() -> None:
    settings = Settings({"YEEDU_PASSWORD": "hidden", "PREFECT_API_AUTH_STRING": "me:hidden"})
    for name in ("server", "yeedu-mock", "deployer", "worker", "rescue"):
        service = built(name, settings)
        assert "hidden" not in " ".join(service.command)
        assert "hidden" not in repr(service)
        assert "hidden" not in str(service.environment)


@pytest.mark.parametrize("name", ["server", "yeedu-mock", "worker"])
def test_services_that_speak_http_are_asked_by_it(name: str) -> None:
    service = built(name, Settings({}))
    assert service.ready_url.startswith("http://")
    assert not service.ready_command
    assert service.sources
