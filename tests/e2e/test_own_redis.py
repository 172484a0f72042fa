"""Several servers with a Redis of one's own: TLS, an own CA, a password, a Sentinel that names the master."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_scaled_server import await_ticks, deployed
from tests.platforms import ComposePlatform, copy_checkout, free_port, wait_for
from tests.scaled_flows import fly
from tests.scaled_server import REDIS_PASSWORD, Container, ScaledServer
from tests.tls_server import private_authority

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("platform"),
]

FOLDER = "/run/own"
COMMON = f"""
port 0
bind 127.0.0.1
tls-cert-file {FOLDER}/server.pem
tls-key-file {FOLDER}/server.pem
tls-ca-cert-file {FOLDER}/ca.pem
tls-auth-clients no
tls-replication yes
dir /tmp
"""
NODE = f"""
requirepass "{REDIS_PASSWORD}"
masterauth "{REDIS_PASSWORD}"
appendonly yes
save ""
maxmemory-policy noeviction
"""
SENTINEL = f"""
sentinel monitor main 127.0.0.1 {{}} 1
sentinel auth-pass main "{REDIS_PASSWORD}"
sentinel down-after-milliseconds main 2000
sentinel failover-timeout main 10000
"""

COMPANY = """
services:
  company-redis:
    image: redis:8
    command: [redis-server, /run/company/redis.conf]
    volumes: ["../company:/run/company:ro"]
    networks: [platform]
"""


class WithSentinel(ScaledServer):
    """Two servers and services that know a Sentinel, and by it a Redis and its replica."""

    def __init__(self, home: Path) -> None:
        self.master, self.replica, self.sentinel_port = free_port(), free_port(), free_port()
        self._folder = home / "own"
        self._folder.mkdir()
        authority, _ = private_authority(self._folder)
        url = f"rediss+sentinel://127.0.0.1:{self.sentinel_port}/main"
        super().__init__(home, 2, REDIS_URL=url, CA_CERT_FILE=str(authority))
        self.beside: list[Container] = []

    def _start_redis(self) -> Container:
        master = self._node(self.master, NODE)
        self.beside.append(master)  # a container is removed as often as one likes
        self.beside.append(self._node(self.replica, f"{NODE}replicaof 127.0.0.1 {self.master}\n"))
        wait_for("replica", lambda: "master_link_status:up" in self.info(self.beside[1]), 30, 0.2)
        self.beside.append(self._node(self.sentinel_port, SENTINEL.format(self.master), "--sentinel"))
        return master

    def _node(self, port: int, lines: str, *options: str) -> Container:
        file = self._folder / f"{port}.conf"
        file.write_text(f"{COMMON}tls-port {port}\n{lines}")
        for one in self._folder.iterdir():
            one.chmod(0o644)
        mounted = ("--network=host", f"--volume={self._folder}:{FOLDER}:ro")
        command = f"exec redis-server /tmp/redis.conf {' '.join(options)}"
        run = f"cp {FOLDER}/{file.name} /tmp/redis.conf && {command}"  # a Sentinel writes to it
        return Container("redis:8", port, port, mounted, ["sh", "-c", run])

    def info(self, node: Container) -> str:
        """Return what the replica says of itself."""
        client = f"redis-cli --tls --cacert {FOLDER}/ca.pem -p {self.replica}"
        return node.run(
            "sh", "-c", f"REDISCLI_AUTH='{REDIS_PASSWORD}' {client} info replication 2>&1 || true"
        )

    def remove_beside(self) -> None:
        """End the replica and the Sentinel."""
        for node in reversed(self.beside):
            node.remove()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[WithSentinel]:
    server = WithSentinel(tmp_path)
    try:
        with server:
            yield server
    finally:
        server.remove_beside()


def test_scheduler_and_runs_go_on_with_the_next_master(own: WithSentinel, tmp_path: Path) -> None:
    deployed(own, "before")
    await_ticks(own, "before")
    fly(own, tmp_path / "before")

    own.redis.kill()

    def is_promoted() -> bool:
        return "role:master" in own.info(own.beside[1])

    wait_for("the next master", is_promoted, 60, 0.2)
    wait_for(
        "a change", lambda: own.api.ask("POST", "flows/", {"name": "made"}).ok, 60, 0.2
    )  # until then: 503, and clients ask again
    deployed(own, "after")
    await_ticks(own, "after")
    await_ticks(own, "before")
    fly(own, tmp_path / "after")
    for part in (*own.servers, own.services):
        assert part.is_healthy(), part.log()[-3000:]
        assert REDIS_PASSWORD not in part.log()


def test_the_platform_starts_no_redis_beside_it(tmp_path: Path) -> None:
    company, checkout = tmp_path / "company", tmp_path / "yeedu-prefect"
    company.mkdir()
    (company / "redis.conf").write_text(f'requirepass "{REDIS_PASSWORD}"\nprotected-mode no\n')
    (company / "password").write_text(f"{REDIS_PASSWORD}\n")
    copy_checkout(checkout)
    (checkout / "company.yaml").write_text(COMPANY)
    files = "docker-compose.yaml:deploy/scale.yaml:deploy/own-redis.yaml:company.yaml"
    (checkout / ".env").write_text(
        f"COMPOSE_FILE={files}\nREDIS_URL=redis://company-redis:6379/1\nAPI_SERVERS=1\n"
        "REDIS_PASSWORD_FILE=../company/password\n"
    )
    platform = ComposePlatform(checkout)
    try:
        platform.must("docker", "compose", "up", "--detach", "--wait", "company-redis", timeout_seconds=300)
        platform.must(
            "docker", "compose", "up", "--detach", "--wait", "services", "server", timeout_seconds=600
        )
        services = platform.must("docker", "compose", "ps", "--all", "--services").split()
        assert set(services) == {"secrets", "postgres", "migrate", "server", "services", "company-redis"}
        client = f"REDISCLI_AUTH='{REDIS_PASSWORD}' redis-cli -n 1 --no-raw dbsize"
        assert platform.inside("company-redis", "sh", "-c", client).split()[-1] != "0"
        shown = platform.must("docker", "compose", "config") + platform.must("docker", "compose", "logs")
        assert REDIS_PASSWORD not in shown
    finally:
        platform.remove()
