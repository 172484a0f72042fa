"""Several API servers and the process of services as processes, Postgres and Redis in containers."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from local.script import load_script
from tests.compose_files import read
from tests.platforms import ROOT, Api, free_port, image, wait_for

SERVER = ROOT / "server"


OVERLAY = read((ROOT / "deploy" / "scale.yaml").read_text(encoding="utf-8"))
PASSWORD = "canary-of-the-database"
REDIS_PASSWORD = "canary/of?the#Redis"


class Part:
    """One process, which a test may end and start again.

    Args:
        name: For messages.
        command: What is started.
        environment: All of its variables.
        home: Where its log is.
        port: What it listens on.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: dict[str, str], home: Path, port: int
    ) -> None:
        self.name, self.port = name, port
        self._command, self._environment = command, environment
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        """Return what it has said since the first start."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def code(self, seconds: float = 60) -> int:
        """Return the exit code with which it ends of its own accord."""
        assert self._process
        return self._process.wait(timeout=seconds)

    def is_healthy(self) -> bool:
        """Whether its page of health says so."""
        assert self.is_running(), f"{self.name} has ended:\n{self.log()[-3000:]}"
        try:
            return Api(f"http://127.0.0.1:{self.port}/api").ask("GET", "health/services").ok
        except OSError:  # what requests raises for a connection is one
            return False

    def await_healthy(self) -> None:
        """Wait until it is well."""
        try:
            wait_for(f"healthy {self.name}", self.is_healthy, 120, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, in order or not, and wait for that."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)
            self._process.wait(timeout=60)


class Container:
    """A container of a public image's, which a test may kill and start again with its data.

    Args:
        image: The image.
        port: On this machine.
        inside: In the container.
        arguments: Of `docker run`; then, behind the image, its command.
    """

    def __init__(
        self, image: str, port: int, inside: int, arguments: Sequence[str], command: Sequence[str]
    ) -> None:
        published = ("--publish", f"127.0.0.1:{port}:{inside}")
        started = docker("run", "--detach", "--init", *published, *arguments, image, *command)
        self._id = started.strip()

    def run(self, *command: str, content: str = "") -> str:
        """Run a command in it, and return what that prints."""
        return docker("exec", "--interactive", self._id, *command, content=content)

    def kill(self) -> None:
        """End it without a word."""
        docker("kill", self._id)

    def start(self) -> None:
        """Start it again."""
        docker("start", self._id)

    def remove(self) -> None:
        """End it, and delete its data."""
        docker("rm", "--force", "--volumes", self._id)


def docker(*arguments: str, content: str = "") -> str:
    """Run ``docker``, and return what it prints."""
    done = subprocess.run(["docker", *arguments], input=content, capture_output=True, text=True, check=False)
    assert not done.returncode, (arguments, done.stderr)
    return done.stdout


class ScaledServer:
    """A server of several processes.

    Args:
        home: A folder of its own.
        servers: How many serve the API.
        settings: Further ones, of each process.

    Attributes:
        second: A further process of services, which is not started.
    """

    def __init__(self, home: Path, servers: int = 2, **settings: str) -> None:
        self._home = home
        self._stack = contextlib.ExitStack()
        self.database_port, self.redis_port = free_port(), free_port()
        (home / "redis").mkdir(mode=0o755)
        (home / "redis" / "users.acl").write_text(redis_users(REDIS_PASSWORD))
        (home / "redis-password").write_text(REDIS_PASSWORD)
        (home / "postgres-password").write_text(PASSWORD)
        self.settings = {
            "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(self.database_port),
            "PREFECT_SERVER_DATABASE_NAME": "prefect",
            "PREFECT_SERVER_DATABASE_USER": "prefect",
            "PREFECT_SERVER_DATABASE_PASSWORD_FILE": str(home / "postgres-password"),
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "10",
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "0",
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "REDIS_PASSWORD_FILE": str(home / "redis-password"),
            **settings,
        }
        self.servers = [self.part(f"server-{number}", alone=True) for number in range(1, servers + 1)]
        self.services, self.second = self.part("services"), self.part("services-2")
        port, behind = free_port(), [str(server.port) for server in self.servers]
        command = [sys.executable, str(ROOT / "tests" / "balancer.py"), str(port), *behind]
        self.balancer = Part("balancer", command, dict(os.environ), home, port)
        self.api = Api(f"http://127.0.0.1:{port}/api")

    def __enter__(self) -> Self:
        """Start all of it; it ends with the block."""
        with contextlib.ExitStack() as stack:
            self.redis = self._start_redis()
            stack.callback(self.redis.remove)
            self.postgres = self._start_postgres()
            stack.callback(self.postgres.remove)
            stack.callback(self.second.end, signal.SIGKILL)
            for part in (self.balancer, *self.servers, self.services):
                stack.callback(part.end, signal.SIGKILL)
                part.start()
            for part in (*self.servers, self.services):
                part.await_healthy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self._stack.close()

    def part(self, name: str, *, alone: bool = False, **settings: str) -> Part:
        """Return an API server (`alone`), or a process of services, that is not started yet."""
        port = free_port()
        more = {**self.settings, **({"PREFECT__SERVER_WEBSERVER_ONLY": "true"} if alone else {}), **settings}
        program = str(SERVER / ("serve.py" if alone else "services.py"))
        launcher = [sys.executable, str(SERVER / "with_secrets.py"), sys.executable, program]
        command = [*launcher, f"--port={port}"]
        return Part(name, command, environment(self._home / name, more), self._home, port)

    def _start_redis(self) -> Container:
        redis = OVERLAY["services"]["redis"]
        mounted = ("--volume", f"{self._home}/redis:/run/platform/redis:ro", "--user", redis["user"])
        command = [str(argument).replace("${REDIS_MEMORY:-256mb}", "64mb") for argument in redis["command"]]
        return Container("redis:8", self.redis_port, 6379, mounted, command)

    def _start_postgres(self) -> Container:
        settings = ("POSTGRES_USER=prefect", "POSTGRES_DB=prefect", f"POSTGRES_PASSWORD={PASSWORD}")
        arguments = [*itertools.chain.from_iterable(("--env", setting) for setting in settings)]
        arguments += ["--tmpfs", "/var/lib/postgresql/data"]
        postgres = Container(
            "postgres:17", self.database_port, 5432, arguments, ["postgres", "-c", "fsync=off"]
        )
        schema = docker("run", "--rm", "--entrypoint", "cat", image("server"), "/opt/server/schema.sql")
        psql = ("psql", "--username=prefect", "--dbname=prefect", "--quiet", "--host=127.0.0.1")

        def is_up() -> bool:
            try:
                return bool(postgres.run(*psql, "--command=SELECT 1"))
            except AssertionError:
                return False

        wait_for("Postgres", is_up, 60, 0.1)
        postgres.run(*psql, "--set=ON_ERROR_STOP=1", content=schema)
        return postgres

    def sql(self, query: str) -> list[list[str]]:
        """Ask the database."""
        psql = ("psql", "--username=prefect", "--dbname=prefect", "--no-align", "--tuples-only")
        return [line.split("|") for line in self.postgres.run(*psql, f"--command={query}").splitlines()]

    def wipe_redis(self) -> None:
        """Have Redis forget all that it has."""
        asked = f"AUTH {REDIS_PASSWORD}\nFLUSHALL\n"
        assert self.redis.run("redis-cli", content=asked).split() == ["OK", "OK"]


def redis_users(password: str) -> str:
    """Return what the platform makes of Redis' password."""
    secrets = load_script(SERVER / "generate_secrets.py").SECRETS
    return next(secret for secret in secrets if secret.setting == "REDIS_USERS").form(password)


def environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    """Return the variables of a process of Prefect's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **settings,
    }
