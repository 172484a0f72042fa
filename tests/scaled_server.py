"""Several API servers, the process of services, Postgres and Redis, as processes of the test's own."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psycopg2

from local import warehouse as postgres
from tests.platforms import Api, free_port, wait_for

SERVER = Path(__file__).parents[1] / "server"
PASSWORD = "canary-of-the-database"
REDIS_PASSWORD = "canary/of?the#Redis"
_DATABASE = "warehouse"  # as local.warehouse calls user and database


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


class Balancer:
    """One address before several servers: each connection goes to the next one that takes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = free_port()
        self._ports = itertools.cycle(ports)
        self._count = len(ports)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Listen until the end of the block."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in itertools.islice(self._ports, self._count):
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
                return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class ScaledServer:
    """A server of several processes.

    Args:
        home: A folder of its own.
        servers: How many serve the API.
    """

    def __init__(self, home: Path, servers: int = 2) -> None:
        self._home = home
        self._stack = contextlib.ExitStack()
        self._database_port, redis_port = free_port(), free_port()
        (home / "redis-password").write_text(REDIS_PASSWORD)
        (home / "postgres-password").write_text(PASSWORD)
        self.settings = {
            "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(self._database_port),
            "PREFECT_SERVER_DATABASE_NAME": _DATABASE,
            "PREFECT_SERVER_DATABASE_USER": _DATABASE,
            "PREFECT_SERVER_DATABASE_PASSWORD_FILE": str(home / "postgres-password"),
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "5",
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "0",
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
            "REDIS_PASSWORD_FILE": str(home / "redis-password"),
        }
        self.postgres = self._part(
            "postgres", postgres.command(home / "postgres", self._database_port), self._database_port
        )
        self.redis = self._part("redis", self._redis_command(redis_port), redis_port)
        self.servers = [self.part(f"server-{number}", alone=True) for number in range(1, servers + 1)]
        self.services = self.part("services")
        self.balancer = Balancer([server.port for server in self.servers])
        self.url = f"http://127.0.0.1:{self.balancer.port}/api"
        self.api = Api(self.url)

    def __enter__(self) -> Self:
        """Start all of it; it ends with the block."""
        with contextlib.ExitStack() as stack:
            for part in (self.postgres, self.redis):
                self._start(part, stack)
            shutil.copytree  # noqa: B018
            self.await_database()
            for part in (*self.servers, self.services):
                self._start(part, stack)
            for part in (*self.servers, self.services):
                part.await_healthy()
            stack.enter_context(self.balancer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self._stack.close()

    def _start(self, part: Part, stack: contextlib.ExitStack) -> None:
        stack.callback(part.end, signal.SIGKILL)
        part.start()

    def part(self, name: str, *, alone: bool = False, **settings: str) -> Part:
        """Return an API server (`alone`), or a process of services, that is not started yet."""
        port = free_port()
        more = {**self.settings, **({"PREFECT__SERVER_WEBSERVER_ONLY": "true"} if alone else {}), **settings}
        program = str(SERVER / ("serve.py" if alone else "services.py"))
        launcher = [sys.executable, str(SERVER / "with_secrets.py"), sys.executable, program]
        return self._part(name, [*launcher, f"--port={port}"], port, more)

    def _part(
        self, name: str, command: Sequence[str], port: int, settings: dict[str, str] | None = None
    ) -> Part:
        return Part(name, command, environment(self._home / name, settings or {}), self._home, port)

    def _redis_command(self, port: int) -> list[str]:
        configuration = self._home / "redis.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._home}\nappendonly yes\nmaxmemory 64mb\n"
            f'maxmemory-policy noeviction\nsave ""\nrequirepass "{REDIS_PASSWORD}"\n'
        )
        return ["redis-server", str(configuration)]

    def await_database(self) -> None:
        ready = postgres.ready_command(self._database_port)
        wait_for("Postgres", lambda: not subprocess.run(ready, check=False).returncode, 60, 0.1)

    def wipe_redis(self) -> None:
        """Have Redis forget all that it has."""
        command = ["redis-cli", "-p", str(self.redis.port), "-a", REDIS_PASSWORD, "--no-auth-warning"]
        subprocess.run([*command, "flushall"], check=True, capture_output=True)

    def sql(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self._database_port,
            user=_DATABASE,
            dbname=_DATABASE,
            password=PASSWORD,
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()


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
