"""What several servers share is set for each of them, and fits into what they share it by."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.script import load_script
from local.settings.scale import MAX_SERVERS
from tests.compose_files import read

ROOT = Path(__file__).parents[2]
RESERVE = 20  # connections that are left for migrations, backups and people


TEXT = (ROOT / "deploy" / "scale.yaml").read_text(encoding="utf-8")
OVERLAY = read(TEXT)
SERVICES: dict[str, dict[str, Any]] = OVERLAY["services"]
BASE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
OF_THE_SERVER = ("server", "services")


def composed(*overlays: str, **settings: str) -> dict[str, dict[str, Any]]:
    """Return the services that Compose makes of the files."""
    files = ["docker-compose.yaml", *(f"deploy/{name}.yaml" for name in overlays)]
    command = [
        "docker",
        "compose",
        *(part for file in files for part in ("-f", file)),
        "config",
        "--format=json",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)["services"]


@pytest.mark.docker
def test_connections_of_all_fit_into_the_database() -> None:
    services = composed("scale", API_SERVERS=str(MAX_SERVERS))
    [most] = re.findall(r"max_connections=(\d+)", " ".join(services["postgres"]["command"]))
    needed = 0
    for service in services.values():
        environment = service.get("environment") or {}
        if "REDIS_URL" in environment:
            pool = "PREFECT_SERVER_DATABASE_SQLALCHEMY_"
            assert environment[f"{pool}MAX_OVERFLOW"] == "0"
            replicas = (service.get("deploy") or {}).get("replicas", 1)
            needed += replicas * (int(environment[f"{pool}POOL_SIZE"]) + 1)  # one for LISTEN
    assert needed == 11 * (MAX_SERVERS + 1)
    assert needed + RESERVE <= int(most)


@pytest.mark.docker
def test_all_of_several_servers_have_the_own_database() -> None:
    settings = {
        "PREFECT_SERVER_DATABASE_HOST": "db.example.com",
        "DATABASE_DIRECT_HOST": "direct.example.com",
    }
    services = composed("scale", "own-database", "scale-own-database", **settings)
    assert not {"postgres", "backup"} & services.keys()
    database = {
        name: value
        for name, value in services["server"]["environment"].items()
        if name.startswith("PREFECT_SERVER_DATABASE_")
    }
    assert database["PREFECT_SERVER_DATABASE_HOST"] == "db.example.com"
    assert database["PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"] == "true"
    assert database.items() <= services["services"]["environment"].items()
    for name in OF_THE_SERVER:
        assert services[name]["networks"].keys() == {"platform", "redis"}, name
        assert "ca-cert" in {secret["source"] for secret in services[name]["secrets"]}, name
    prepared = {**database, "PREFECT_SERVER_DATABASE_HOST": "direct.example.com", "API_SERVERS": "3"}
    assert prepared.items() <= services["migrate"]["environment"].items()


@pytest.mark.docker
def test_with_an_own_redis_nothing_needs_the_platforms() -> None:
    url = "rediss+sentinel://a.example.com,b.example.com/main"
    services = composed("scale", "own-redis", REDIS_URL=url, REDIS_PASSWORD="canary")
    assert "redis" not in services
    for name in OF_THE_SERVER:
        assert services[name]["environment"]["REDIS_URL"] == url
        assert services[name]["environment"]["CA_CERT_FILE"] == "/run/secrets/ca-cert"
        assert "redis" not in services[name]["depends_on"]
    assert "canary" not in str(services)


@pytest.mark.docker
def test_https_goes_before_several_servers() -> None:
    proxy = composed("scale", "tls", PREFECT_UI_URL="https://prefect.example.com")["proxy"]
    assert [port["target"] for port in proxy["ports"]] == [8443, 8080]
    assert proxy["environment"]["PROXY_REPLICAS"] == "3"
    assert proxy["environment"]["TLS_MODE"] == "acme"


@pytest.mark.parametrize("name", OF_THE_SERVER)
def test_part_of_the_server_is_told_of_redis_by_a_file(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["REDIS_URL"] == "redis://redis:6379"
    assert environment["REDIS_PASSWORD_FILE"].startswith("/run/platform/redis/")
    assert "redis-secrets:/run/platform/redis:ro" in SERVICES[name]["volumes"]
    assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    settings = load_script(ROOT / "server" / "with_secrets.py").SHARED_SETTINGS
    for setting in settings.keys() & BASE["services"]["server"]["environment"].keys():
        assert environment[setting] == settings[setting], "the one server's own would stay"


def test_api_servers_run_no_services_and_services_are_one() -> None:
    assert SERVICES["server"]["environment"]["PREFECT__SERVER_WEBSERVER_ONLY"] == "true"
    assert SERVICES["server"]["deploy"]["replicas"] == SERVICES["proxy"]["environment"]["PROXY_REPLICAS"]
    assert "PREFECT__SERVER_WEBSERVER_ONLY" not in SERVICES["services"]["environment"]
    assert "deploy" not in SERVICES["services"]


def test_redis_keeps_the_common_rules_and_what_it_holds() -> None:
    redis, example = SERVICES["redis"], BASE["services"]["postgres"]
    for rule in ("restart", "init", "security_opt", "cap_drop", "read_only", "logging", "pids_limit"):
        assert redis[rule] == example[rule], rule
    command = " ".join(redis["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis-data:/data" in redis["volumes"]
    assert redis["networks"] == ["redis"]
    assert OVERLAY["networks"]["redis"] == {"internal": True}
    assert "ports" not in redis


def test_everybody_asks_the_proxy() -> None:
    for name, service in BASE["services"].items():
        if "PREFECT_API_URL" not in service.get("environment", {}):
            continue
        environment = SERVICES[name]["environment"]
        assert environment["PREFECT_API_URL"] == "http://proxy:4200/api", name
        hosts = set(environment["DIRECT_HOSTS"].split(","))
        assert hosts == {*service["environment"]["DIRECT_HOSTS"].split(","), "proxy"}, name


def test_password_of_redis_is_in_no_command_and_no_environment() -> None:
    assert "requirepass" not in TEXT
    users = load_script(ROOT / "server" / "generate_secrets.py").SECRETS
    form = next(secret for secret in users if secret.setting == "REDIS_USERS").form
    assert "canary" not in form("canary")
