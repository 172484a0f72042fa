"""The rules that docker-compose.yaml keeps, checked on the file as it is written."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.doctor.engine import MEMORY_SETTINGS
from tests.compose_files import read
from tests.platforms import IMAGES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
IMAGES_FILE = "docker-compose.images.yaml"
IMAGES_TEXT = (ROOT / IMAGES_FILE).read_text(encoding="utf-8")
BUILDS: dict[str, dict[str, Any]] = yaml.safe_load(IMAGES_TEXT)["services"]
OVERLAYS = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "deploy").glob("*.yaml")}
PROXY_TEXT = (ROOT / "proxy" / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
NAME = r"-(?P<name>[\w-]+):\$\{PLATFORM_VERSION:-(?P<version>[\d.]+)\}"
BUILT = r"\$\{IMAGE_PREFIX:-\$\{COMPOSE_PROJECT_NAME:-yeedu-prefect\}\}" + NAME
PULLED = r"\$\{PLATFORM_REGISTRY:-\}/\$\{IMAGE_PREFIX:-yeedu-prefect\}" + NAME
POSTGRES = "${POSTGRES_IMAGE:-postgres:17}"
OUTLIVES = ("backup", "./backups")  # what is written there has to survive the volumes
OF_SEVERAL_SERVERS = {"PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "10"}  # where one has another default
DOCKERFILES = sorted(ROOT.glob("*/Dockerfile"))


def test_services_are_the_ones_of_the_design() -> None:
    assert set(SERVICES) == {
        *("secrets", "postgres", "migrate", "server", "ready"),
        *("git-server", "yeedu-mock", "deployer", "worker", "image-worker", "rescue", "warehouse"),
        *("yeedu-watch", "backup", "dask-scheduler", "dask-worker"),
    }
    assert {"secrets", "migrate", "deployer", "ready"} == ONE_SHOTS


@pytest.mark.parametrize("name", SERVICES)
def test_service_keeps_the_common_rules(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    assert "container_name" not in service
    assert "privileged" not in service
    assert name in ONE_SHOTS or (service["restart"] == "unless-stopped" and service["healthcheck"]["test"])
    for volume in service.get("volumes", []):
        source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or volume.get("read_only") or (name, source) == OUTLIVES, volume
        assert "docker.sock" not in str(volume)


def test_proxy_keeps_them_too() -> None:
    """Its program asks for one capability before it starts; by no-new-privileges, it does not get it."""
    [(name, service)] = yaml.safe_load(PROXY_TEXT)["services"].items()
    assert name == "proxy"
    assert (service["cap_drop"], service["cap_add"]) == (["ALL"], ["NET_BIND_SERVICE"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert {"mem_limit", "pids_limit"} < service.keys()
    assert service["logging"] == COMPOSE["x-service"]["logging"]
    assert service["image"] == "${CADDY_IMAGE:-caddy:2}"
    overlay = read(OVERLAYS["tls.yaml"])
    assert overlay["services"]["server"]["ports"] is None
    assert overlay["secrets"]["tls-key"] == {"file": "${TLS_KEY_FILE:-/dev/null}"}
    assert not [name for name in overlay["services"]["proxy"]["environment"] if "KEY" in name]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_unless_told_otherwise(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith(("127.0.0.1:", "${PREFECT_BIND_ADDRESS:-127.0.0.1}:"))


def test_images_are_the_projects_own_and_rebuilt_when_their_files_change() -> None:
    """`never` alone, or another place's tag, would run old images with new files, or fetch a stranger's."""
    built: set[str] = set()
    for name, service in SERVICES.items():
        if service.get("image") == POSTGRES:
            continue
        assert not {"image", "build", "pull_policy"} & service.keys(), name
        taken = service["extends"]["service"]
        assert service["extends"]["file"] == IMAGES_FILE
        assert taken in {f"{one}${{PLATFORM_REGISTRY:+-pulled}}" for one in (name, "server")}, name
        own = BUILDS[taken.partition("$")[0]]
        found = re.fullmatch(BUILT, own["image"])
        assert found, name
        if "build" in own:
            built.add(found["name"])
            assert own["pull_policy"] == "${IMAGE_POLICY:-build}", name
        else:
            assert found["name"] in {"server", "worker"}, name
            assert own["pull_policy"] == "never", name
    assert built == {file.parent.name for file in DOCKERFILES} | {"image-worker"}


def test_with_a_registry_its_images_are_pulled_and_none_is_built() -> None:
    own = {name: service for name, service in BUILDS.items() if not name.endswith("-pulled")}
    assert {f"{name}-pulled" for name in own} == BUILDS.keys() - own.keys()
    for name, service in own.items():
        pulled = BUILDS[f"{name}-pulled"]
        assert pulled.keys() == {"image", "pull_policy"}, name
        assert pulled["pull_policy"] == "missing", name
        here, there = re.fullmatch(BUILT, service["image"]), re.fullmatch(PULLED, pulled["image"])
        assert here, name
        assert there, name
        assert here["name"] == there["name"], name


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_what_images_are_built_from_is_said_once(file: Path) -> None:
    """By the setting PYTHON_IMAGE, which takes a mirror's, or a digest."""
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"(?m)^ARG PYTHON_IMAGE=(.*)$", text) == ["python:3.13-slim"]
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)$", text))
    assert set(re.findall(r"(?m)^FROM (\S+)", text)) <= {"${PYTHON_IMAGE}", "scratch", *stages}
    for service in BUILDS.values():
        if service.get("build", {}).get("dockerfile") == f"{file.parent.name}/Dockerfile":
            assert service["build"]["args"]["PYTHON_IMAGE"] == "${PYTHON_IMAGE:-python:3.13-slim}"


def test_platforms_under_test_share_images_with_no_platform_that_somebody_uses() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    settings = " ".join(f"{name}={value}" for name, value in IMAGES.items())
    assert f"{settings} docker compose build" in script
    assert not re.search(IMAGES["IMAGE_PREFIX"], TEXT + IMAGES_TEXT)


def test_what_the_user_configured_is_waited_for_wherever_it_is_mounted() -> None:
    """The program that reads it refuses to start without: see server/generate_secrets.py."""
    overlay = read(OVERLAYS["other-server.yaml"])["services"]["secrets"]
    mounted = [config["target"] for one in (SERVICES["secrets"], overlay) for config in one["configs"]]
    assert mounted == ["/run/own-values", "/run/key-values"]
    assert overlay["environment"]["OWN_VALUES"] == ":".join(mounted)
    assert "OWN_VALUES" not in SERVICES["secrets"]["environment"], "the program's default"


def test_selinux_lets_containers_read_the_checkout() -> None:
    """Compose labels a mount only where Docker may make its source; the deployer's are parts of this one."""
    checkout = next(volume for volume in SERVICES["git-server"]["volumes"] if isinstance(volume, dict))
    assert checkout["bind"] == {"create_host_path": True, "selinux": "z"}
    parts = [volume for volume in SERVICES["deployer"]["volumes"] if isinstance(volume, dict)]
    assert {str(part["source"]) for part in parts} == {"${CONFIG_DIR:-./deployer}", "./deployer", "./flows"}
    assert SERVICES["deployer"]["depends_on"] == {"git-server": {"condition": "service_healthy"}}


def test_start_order_is_gated_step_by_step() -> None:
    for earlier, later in itertools.pairwise(("secrets", "postgres", "migrate", "server", "rescue", "ready")):
        assert SERVICES[later]["depends_on"][earlier] == {"condition": end_of(earlier)}


def test_up_returns_once_everything_is_well() -> None:
    """Compose waits for what a service depends on, and for what that depends on."""
    awaited, new = set[str](), {"ready"}
    while new:
        awaited |= new
        new = {before for name in new for before in SERVICES[name].get("depends_on", {})} - awaited
    assert awaited == {name for name, service in SERVICES.items() if not service.get("profiles")}
    for service in SERVICES.values():
        for earlier, how in service.get("depends_on", {}).items():
            assert how == {"condition": end_of(earlier)}


def end_of(service: str) -> str:
    return "service_completed_successfully" if service in ONE_SHOTS else "service_healthy"


def test_no_secret_is_in_the_environment_of_a_service() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|KEY|AUTH(?!_TYPE)", variable) and not variable.startswith(
                "GIT_CONFIG_KEY_"
            ):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                assert value.startswith("/run/platform/"), f"{name}: {variable}"


def test_secrets_are_mounted_only_where_they_are_needed() -> None:
    mounts = {
        volume: {
            name
            for name, service in SERVICES.items()
            if any(str(mount).startswith(f"{volume}:") for mount in service.get("volumes", []))
        }
        for volume in COMPOSE["volumes"]
        if volume.endswith("-secrets")
    }
    assert mounts == {
        "database-secrets": {"secrets", "postgres", "migrate", "server", "backup"},
        "server-secrets": {"secrets", "migrate", "server", "backup"},
        "api-secrets": {
            *("secrets", "server", "git-server", "deployer", "worker", "image-worker", "rescue"),
            *("yeedu-watch", "dask-worker"),
        },
        "mock-secrets": {"secrets", "yeedu-mock"},
        "deployer-secrets": {"secrets", "deployer"},
        "git-secrets": {"secrets", "deployer", "worker"},
        "warehouse-secrets": {"secrets", "warehouse"},
    }


def test_naming_a_file_makes_its_users_anew() -> None:
    """Compose does not look at what a secret's file is, only at a service's own description."""
    for name, service in SERVICES.items():
        for mounted in service.get("secrets", []):
            source = mounted["source"] if isinstance(mounted, dict) else mounted
            for setting in re.findall(r"\$\{(\w+)", COMPOSE["secrets"][source]["file"]):
                assert f"${{{setting}:-" in str(service["labels"]), f"{name}: {setting}"


def test_services_are_reached_past_proxies() -> None:
    """Every name that a container asks for is among them, and every container that asks has the list."""
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        asked = set(re.findall(r"https?://([\w-]+):\d+/", str(environment))) & set(SERVICES)
        if asked:
            assert asked <= set(environment["DIRECT_HOSTS"].split(",")), name


def test_flows_reach_the_warehouse_and_not_prefects_database() -> None:
    assert COMPOSE["networks"]["warehouse"] == {"internal": True}
    on = {
        network: {name for name, service in SERVICES.items() if network in service.get("networks", [])}
        for network in ("database", "warehouse")
    }
    assert on["database"] == {"postgres", "migrate", "server", "backup"}
    assert on["warehouse"] == {"warehouse", "worker", "image-worker", "dask-scheduler", "dask-worker"}


def test_the_dask_scheduler_is_reached_by_workers_alone_and_knows_no_secret() -> None:
    """It runs whatever it is sent."""
    scheduler = SERVICES["dask-scheduler"]
    assert scheduler["networks"] == ["warehouse"]
    assert not {"ports", "volumes", "secrets", "env_file"} & scheduler.keys()
    assert not SERVICES["dask-worker"].get("ports")


def test_memory_of_what_runs_a_teams_code_is_a_setting_and_the_doctor_names_it() -> None:
    """What flows import when they are registered, too, is as large as they are."""
    limits = {
        name: re.fullmatch(r"\$\{(\w+):-\w+\}", str(one["mem_limit"])) for name, one in SERVICES.items()
    }
    settings = {name: found[1] for name, found in limits.items() if found}
    of_teams = {name for name, service in SERVICES.items() if "env_file" in service}
    assert of_teams == {"deployer", "worker", "image-worker", "dask-worker"}
    assert of_teams <= settings.keys()
    assert settings == {name: setting for name, setting in MEMORY_SETTINGS.items() if name in SERVICES}


def test_worker_whose_pool_asks_no_prefork_server_starts_none() -> None:
    pools = yaml.safe_load((ROOT / "deployer" / "work-pools.yaml").read_text(encoding="utf-8"))["work_pools"]
    commands = {pool["name"]: pool.get("job_variables", {}).get("command", "") for pool in pools}
    for name, default in (("worker", "yeedu-pool"), ("image-worker", "")):
        variables = SERVICES[name]["environment"]
        asks = commands[variables.get("WORKER_POOL", default)].startswith("yeedu-flow-run")
        assert variables["WORKER_PREFORK"] == ("${WORKER_PREFORK:-true}" if asks else "false"), name


def test_worker_clears_the_folder_that_its_runs_fill() -> None:
    """The one that its container has to itself, and that is as large as memory allows."""
    dockerfile = (ROOT / "worker" / "Dockerfile").read_text(encoding="utf-8")
    [cleared] = re.findall(r"\bWORKER_OWN_TEMPORARY_FOLDER=(\S+)", dockerfile)
    for name in ("worker", "image-worker"):
        mounts = {mount.partition(":")[0]: mount for mount in SERVICES[name]["tmpfs"]}
        assert mounts.keys() == {cleared}, name
        assert "size=" in mounts[cleared], name


def test_every_setting_has_a_default_and_a_line_in_the_example() -> None:
    body = re.sub(r"(?m)^\s*#.*$", "", "\n".join([TEXT, IMAGES_TEXT, PROXY_TEXT, *OVERLAYS.values()]))
    bare = re.findall(r"\$\{(\w+)\}|\$(?!\{)(\w+)", body)
    assert bare == [], "a setting without a default"
    used = set(re.findall(r"(?:\$\{|\{environment: )(\w+)(?::?[-?]|\})", body))
    described = set(re.findall(r"(?m)^#(\w+)=", EXAMPLE))
    assert used == described


def test_example_shows_the_defaults_that_compose_uses() -> None:
    inner = r"\$\{%s:?-((?:[^{}]|\$\{[^}]*\})*)\}"
    text = "\n".join([TEXT, IMAGES_TEXT, PROXY_TEXT, *OVERLAYS.values()])
    for name, shown in re.findall(r"(?m)^#(\w+)=(.*)$", EXAMPLE):
        defaults = {re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", found) for found in re.findall(inner % name, text)}
        defaults -= {"/dev/null", OF_SEVERAL_SERVERS.get(name)}
        assert defaults in ({shown}, set() if not shown else {shown}), name


def test_with_another_server_nothing_needs_the_platforms_own() -> None:
    changed: dict[str, Any] = read(OVERLAYS["other-server.yaml"])["services"]
    gone = {name for name, service in changed.items() if service is None}
    assert gone == {"server", "postgres", "migrate", "backup"}
    for name in set(SERVICES) - gone:
        service, own = SERVICES[name], changed.get(name) or {}
        assert not gone & set(own.get("depends_on", service.get("depends_on", {}))), name
        environment = service.get("environment", {}) | own.get("environment", {})
        assert "http://server:4200" not in str(environment), name
        for variable in own.get("environment", {}):
            assert not re.search(r"KEY|AUTH", variable) or variable.endswith("_FILE"), f"{name}: {variable}"


def test_with_an_own_database_nothing_needs_the_platforms_own() -> None:
    changed: dict[str, Any] = read(OVERLAYS["own-database.yaml"])["services"]
    assert {name for name, service in changed.items() if service is None} == {"postgres", "backup"}
    for name in set(SERVICES) - {"postgres", "backup"}:
        service, own = SERVICES[name], changed.get(name) or {}
        assert "postgres" not in own.get("depends_on", service.get("depends_on", {})), name
        assert "database" not in own.get("networks", service.get("networks", [])), name
        environment = service.get("environment", {}) | own.get("environment", {})
        assert environment.get("PREFECT_SERVER_DATABASE_HOST") != "postgres", name
        if "PREFECT_SERVER_DATABASE_HOST" in environment:
            assert environment["CA_CERT_FILE"] == "/run/secrets/ca-cert", name
            assert "ca-cert" in own.get("secrets", service.get("secrets", [])), name


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_image_runs_as_a_fixed_user_with_exec_form_commands(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users, "no USER line"
    assert users[-1] == "10001:10001"
    for line in lines:
        if line.startswith(("ENTRYPOINT", "CMD")):
            assert "[" in line, f"shell form: {line}"


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_image_is_the_same_from_a_checkout_that_only_its_owner_may_read(file: Path) -> None:
    """COPY keeps the modes of files, which then count for the user of the stage; as root none does."""
    stages = re.split(r"(?m)^(?=FROM )", file.read_text(encoding="utf-8"))[1:]
    inherited: dict[str, bool] = {}
    for stage in stages:
        base, name = re.findall(r"FROM (\S+)(?: AS (\S+))?", stage)[0]
        has_user = bool(re.search(r"(?m)^USER ", stage)) or inherited.get(base, False)
        inherited[name] = has_user
        for copied in re.findall(r"(?m)^COPY (?!.*--from=).*$", stage):
            assert not has_user or "--chmod=" in copied, copied


def test_images_of_server_worker_and_deployer_share_their_head() -> None:
    heads = {
        name: (ROOT / name / "Dockerfile").read_text(encoding="utf-8").partition("\n# -----")[0]
        for name in ("server", "worker", "deployer")
    }
    assert len(set(heads.values())) == 1, "the shared head differs between the Dockerfiles"
