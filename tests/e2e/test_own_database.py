"""A Postgres of the company's own for Prefect: TLS alone, an own CA, and a password full of punctuation.

The checkout is private, and its path has spaces in it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import machine
from tests.platforms import ComposePlatform, copy_checkout
from tests.tls_server import private_authority

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("platform"),
]

HOST = "company-postgres"
PASSWORD = "p@ss:w/rd?#[]%41&=+ ${HOME} $$ 'x' \"y\" \\z"
# Postgres wants its key for itself alone.
START = """
install -o postgres -m 600 /run/company/server.pem /tmp/server.pem
exec docker-entrypoint.sh postgres -c hba_file=/run/company/pg_hba.conf \\
  -c ssl=on -c ssl_cert_file=/tmp/server.pem -c ssl_key_file=/tmp/server.pem
"""
OVERLAY = f"""
services:
  {HOST}:
    image: postgres:17
    entrypoint: [bash, -e, /run/company/start]
    environment: {{POSTGRES_USER: prefect, POSTGRES_PASSWORD_FILE: /run/company/password}}
    volumes: ["../company:/run/company:ro"]
    networks: [platform]
    healthcheck: {{test: [CMD, pg_isready, --host=127.0.0.1], interval: 1s, retries: 60}}
  migrate:
    depends_on: {{{HOST}: {{condition: service_healthy}}}}
"""
SETTINGS = {
    "COMPOSE_FILE": "docker-compose.yaml:deploy/own-database.yaml:company.yaml",
    "PREFECT_SERVER_DATABASE_HOST": HOST,
    "POSTGRES_PASSWORD_FILE": "../company/password",
    "CHECKOUT_UID": str(os.getuid()),
    "CHECKOUT_GID": str(os.getgid()),
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ComposePlatform]:
    """A platform beside the company's database, neither started."""
    company, checkout = tmp_path / "company", tmp_path / "yeedu on prefect"
    company.mkdir()
    private_authority(company, HOST)
    (company / "password").write_text(f"{PASSWORD}\n")
    (company / "start").write_text(START)
    (company / "pg_hba.conf").write_text("local all all trust\nhostssl all all all scram-sha-256\n")
    copy_checkout(checkout)
    (checkout / "company.yaml").write_text(OVERLAY)
    platform = ComposePlatform(checkout)
    platform.must("docker", "compose", "build", "--quiet", timeout_seconds=900)
    platform.environment["IMAGE_POLICY"] = "never"  # or the modes below would have them built anew
    subprocess.run(["chmod", "-R", "go-rwx", checkout], check=True)
    try:
        yield platform
    finally:
        platform.remove()


def configure(platform: ComposePlatform, **further: str) -> None:
    lines = [f"{name}={value}\n" for name, value in {**SETTINGS, **further}.items()]
    (platform.checkout / ".env").write_text("".join(lines))


def test_a_postgres_of_ones_own_is_used_over_tls(own: ComposePlatform) -> None:
    up = ("docker", "compose", "up", "--detach", "--wait", "server")
    configure(own, PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql+asyncpg://db.example/prefect")
    assert own.command(*up).returncode
    refused = own.must("docker", "compose", "logs", "secrets")
    assert "secrets: PREFECT_SERVER_DATABASE_CONNECTION_URL is not taken" in refused

    configure(own)
    assert own.command(*up).returncode
    untrusted = own.must("docker", "compose", "logs", "migrate")
    assert f"migrate: the certificate of the database at {HOST} is not trusted" in untrusted
    assert "set CA_CERT_FILE to the file of its CA" in untrusted
    assert "Traceback" not in untrusted

    configure(own, CA_CERT_FILE="../company/ca.pem")
    own.must(*up)
    assert own.api.post("variables/", {"name": "kept", "value": "here"})["value"] == "here"
    psql = ("psql", "--username=prefect", "--tuples-only", "--no-align", "--command")
    assert own.inside(HOST, *psql, "SELECT value FROM variable").strip() == '"here"'
    over_tls = "SELECT bool_and(ssl), count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
    assert own.inside(HOST, *psql, f"{over_tls} WHERE client_addr IS NOT NULL").strip() == "t|t"
    services = own.must("docker", "compose", "ps", "--all", "--services").split()
    assert set(services) == {"secrets", "migrate", "server", HOST}

    # What reads the checkout can.
    own.must("docker", "compose", "up", "--detach", "--wait", "git-server")
    planned = own.command("docker", "compose", "run", "--rm", "-T", "--no-deps", "deployer", "plan")
    assert planned.returncode == 2, planned.stdout + planned.stderr  # there is something to do
    assert "run-yeedu-job" in planned.stdout

    backup = own.command(sys.executable, "-m", "local", "backup")
    assert backup.returncode == 1
    assert f"Prefect's data is in your Postgres at {HOST}; back it up there" in backup.stderr


def test_several_servers_share_it_within_its_connections(own: ComposePlatform) -> None:
    own.environment["CADDY_IMAGE"] = machine("caddy")
    several = {
        "COMPOSE_FILE": "docker-compose.yaml:deploy/scale.yaml:deploy/own-database.yaml:"
        "deploy/scale-own-database.yaml:company.yaml",
        "CA_CERT_FILE": "../company/ca.pem",
        "API_SERVERS": "2",
    }
    up = ("docker", "compose", "up", "--detach", "--wait", "services", "proxy")
    psql = ("psql", "--username=prefect", "--tuples-only", "--no-align", "--command")
    configure(own, **several)
    own.must("docker", "compose", "up", "--detach", "--wait", HOST)
    own.inside(HOST, *psql, "ALTER ROLE prefect CONNECTION LIMIT 20")
    assert own.command(*up).returncode
    refused = own.must("docker", "compose", "logs", "migrate")
    assert "opens up to 33 connections to its database (3 x 10, and one each to listen)" in refused
    assert "set PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE=5 or a smaller API_SERVERS" in refused

    configure(own, **several, PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE="5")
    own.must(*up, timeout_seconds=300)
    for number in range(30):
        own.api.post("variables/", {"name": f"kept-{number}", "value": number})
    clients = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL"
    asked = f"SELECT bool_and(ssl), count(DISTINCT client_addr), count(*) <= 18 {clients}"
    assert own.inside(HOST, *psql, asked).strip() == "t|3|t"
