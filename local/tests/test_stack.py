"""What `make stack` renders: all that the compose files say, in the words of a Docker Swarm."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.console import Console
from local.containers.images import config_of
from local.errors import CommandError
from local.settings.platform import ROOT, Settings
from local.stack import command, swarm
from local.stack.render import StackContext, labels_of, stack_of
from local.stack.secrets import first_names
from local.stack.settings import KEPT, LEFT_OUT, REPLACED, SERVICES_LEFT_OUT

pytestmark = pytest.mark.docker

STACK = "yeedu-prefect"
CANARY = "canary-of-the-stack-4f1a"
SECRETS = {
    "POSTGRES_PASSWORD": CANARY,
    "PREFECT_SERVER_ENCRYPTION_KEY": CANARY,
    "PREFECT_API_AUTH_STRING": f"admin:{CANARY}",
    "YEEDU_PASSWORD": CANARY,
    "FLOWS_GIT_TOKEN": CANARY,
    "GITHUB_TOKEN": CANARY,
    "WAREHOUSE_PASSWORD": CANARY,
    "ALERT_WEBHOOK_URL": f"https://{CANARY}.example",
    "ALERT_SENDGRID_API_KEY": CANARY,
}
JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "COMPOSE_", "WORKER_", "IMAGE_", "PLATFORM_")):
            monkeypatch.delenv(name)


def model_of(monkeypatch: pytest.MonkeyPatch, *profiles: str, **settings: str) -> JSON:
    """Return what Compose makes of its files with such settings."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMPOSE_PROFILES", ",".join(profiles))
    return config_of(command.project_of(Settings(settings)))


def rendered(model: JSON, **more: Any) -> JSON:
    return stack_of(model, StackContext(first_names(model, STACK), more.get("images", {})))


def taken(stack: JSON) -> JSON:
    """Return what Docker itself makes of the stack."""
    asked = ["docker", "stack", "config", "--skip-interpolation", "--compose-file=-"]
    done = subprocess.run(asked, input=json.dumps(stack), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def test_every_service_and_every_setting_is_there_or_said_to_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(monkeypatch, "*")
    stack = taken(rendered(model))
    assert stack["services"].keys() == model["services"].keys() - SERVICES_LEFT_OUT.keys()
    used = {key for one in model["services"].values() for key, value in one.items() if value is not None}
    assert used <= KEPT | REPLACED.keys() | LEFT_OUT.keys() | {"network_mode", "configs"}
    for name, service in stack["services"].items():
        old = model["services"][name]
        for setting in KEPT & old.keys() - {"environment"}:
            assert service.get(setting, old[setting]) == old[setting], f"{name}: {setting}"
        given = {key: value for key, value in service.get("environment", {}).items() if "{{" not in value}
        assert (given.pop("SERVER_AWAITS_MIGRATION", "") == "yes") == (name == "server")
        assert given.items() <= (old.get("environment") or {}).items(), name
        assert given.keys() | {"WORKER_NAME"} >= (old.get("environment") or {}).keys(), name
        limits = service["deploy"]["resources"]["limits"]
        assert limits == {"memory": old["mem_limit"], "pids": old["pids_limit"]}, name
        places = {mount["target"] for mount in service.get("volumes", [])}
        places |= {str(Path(secret["target"]).parent) for secret in service.get("secrets", [])}
        assert {line.partition(":")[0] for line in old.get("tmpfs", [])} <= places, name
        assert {mount["target"] for mount in old.get("volumes", [])} <= places, name


def test_it_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for file in written:
        command.write_stack(file, Settings({}), Console())
    assert written[0].read_bytes() == written[1].read_bytes()


def test_nothing_secret_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text(CANARY, encoding="utf-8")
    model = model_of(monkeypatch, "*", CA_CERT_FILE=str(certificate), **SECRETS)
    assert CANARY in json.dumps(model), "they are where Compose looks"
    assert CANARY not in json.dumps(rendered(model))


@pytest.mark.parametrize("overlay", ["own-database", "other-server"])
def test_overlays_are_rendered(monkeypatch: pytest.MonkeyPatch, overlay: str) -> None:
    settings = {
        "COMPOSE_FILE": f"docker-compose.yaml:deploy/{overlay}.yaml",
        "PREFECT_API_URL": "https://prefect.example.com/api",
        "PREFECT_SERVER_DATABASE_HOST": "db.example.com",
    }
    monkeypatch.setattr("local.containers.engine.environment_of_commands", lambda: dict(os.environ))
    stack = taken(rendered(model_of(monkeypatch, **settings)))
    assert "postgres" not in stack["services"]
    assert f"{STACK}.postgres-data" not in labels_of(rendered(model_of(monkeypatch, **settings)))


def test_state_and_checkout_have_their_node_and_workers_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = rendered(model_of(monkeypatch, "backup"))
    labels = [f"{STACK}.{name}" for name in ("checkout", "deployer-data", "postgres-data", "prefect-data")]
    assert labels_of(stack) == [*labels, f"{STACK}.warehouse-data", f"{STACK}.yeedu-mock-data"]
    worker, backup = stack["services"]["worker"], stack["services"]["backup"]
    assert "placement" not in worker["deploy"]
    assert worker["environment"]["WORKER_NAME"] == "linux-worker-{{.Task.Slot}}"
    assert backup["deploy"]["placement"]["constraints"] == [f"node.labels.{STACK}.checkout == here"]
    assert stack["volumes"]["postgres-data"]["name"] == f"{STACK}-stack_postgres-data", "and not Compose's"
    own = [one["source"] for one in worker["volumes"] if one["type"] == "volume"]
    assert {"{{.Task.Slot}}" in stack["volumes"][name]["name"] for name in own} == {True}


def test_tmpfs_with_options_is_a_volume_of_memory_of_that_size(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (rendered(model_of(monkeypatch, WORKER_TMP_SIZE=size))["volumes"] for size in ("1g", "3g"))
    assert small["worker-tmp"]["driver_opts"]["o"] == "exec,size=1g,mode=1777,nosuid,nodev"
    assert small["worker-tmp"]["name"] != large["worker-tmp"]["name"], "Docker would keep the first"


def test_ports_are_published_by_the_node_of_their_service_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "ports" not in rendered(model_of(monkeypatch))["services"]["server"]
    services = rendered(model_of(monkeypatch, PREFECT_BIND_ADDRESS="0.0.0.0"))["services"]
    assert services["server"]["ports"] == [
        {"mode": "host", "target": 4200, "published": 8080, "protocol": "tcp"}
    ]
    assert "ports" not in services["yeedu-mock"]
    with pytest.raises(
        CommandError, match=r"server is published at 192\.0\.2\.7, and Swarm publishes at every"
    ):
        rendered(model_of(monkeypatch, PREFECT_BIND_ADDRESS="192.0.2.7"))


def test_health_gates_a_start_and_ends_nothing_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker outlives an outage of its server with Compose; Swarm ends what is unhealthy."""
    for name, service in taken(rendered(model_of(monkeypatch)))["services"].items():
        if check := service.get("healthcheck"):
            assert check["interval"] == "15s", name
            assert check["retries"] == 240, name


def test_braces_of_a_value_are_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = rendered(model_of(monkeypatch, FLOWS_GIT_REF="{{x}}"))["services"]["worker"]["environment"]
    assert environment["FLOWS_GIT_REF"] == '{{"{{"}}x}}'


def test_an_image_that_was_built_anew_changes_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(monkeypatch)
    name = model["services"]["worker"]["image"]
    before, after = (rendered(model, images={name: one})["services"] for one in ("sha256:1", "sha256:2"))
    assert {one for one in before if before[one] != after[one]} == {"worker", "yeedu-watch"}


def test_a_setting_that_would_be_lost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(monkeypatch)
    model["services"]["worker"]["privileged"] = True
    with pytest.raises(CommandError, match="privileged of worker is nothing that `make stack` can render"):
        rendered(model)


def test_without_docker_there_is_no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for run in (
        lambda: command.write_stack(None, Settings({}), Console()),
        lambda: command.run_stack(Settings({}), Console()),
    ):
        with pytest.raises(CommandError, match="docker is missing"):
            run()


def answers(text: str) -> Callable[..., str]:
    def docker(*_arguments: str) -> str:
        return text

    return docker


def test_a_machine_in_no_swarm_is_told_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "docker", answers('{"LocalNodeState": "inactive"}'))
    with pytest.raises(CommandError, match="is in no Swarm; `docker swarm init` makes one of it"):
        swarm.this_node()
    monkeypatch.setattr(swarm, "docker", answers('{"LocalNodeState": "active", "ControlAvailable": false}'))
    with pytest.raises(CommandError, match="is no manager of its Swarm"):
        swarm.this_node()


def test_two_nodes_with_one_label_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Spec": {"Labels": {"yeedu-prefect.postgres-data": "here"}}, "Description": {"Hostname": name}}
        for name in ("one", "two")
    ]
    monkeypatch.setattr(swarm, "docker", answers(json.dumps(nodes)))
    with pytest.raises(CommandError, match=r"one and two have the label yeedu-prefect\.postgres-data"):
        swarm.label_nodes(["yeedu-prefect.postgres-data"], "id")


def test_page_tells_what_is_replaced_and_what_is_left_out() -> None:
    page = (ROOT / "docs" / "swarm.md").read_text(encoding="utf-8")
    for table in (REPLACED, LEFT_OUT, SERVICES_LEFT_OUT):
        for setting, instead in table.items():
            assert f"| `{setting}` | {instead} |" in page
