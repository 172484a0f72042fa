"""Starts, meters and kills the processes and containers of a peer, and removes all of them at the end."""

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import docker_stats
from bench.process_stats import cpu_seconds, kill_tree, process_tree
from tests.platforms import free_port, wait_for

_TOKEN = "BENCH_PEER"  # noqa: S105 - the environment variable that marks a peer's processes
GRACE_SECONDS = 10


@dataclass
class _Started:
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes]


class Processes:
    """The processes and containers of a peer.

    Args:
        folder: The processes' working directory, in which their output is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(8)
        self._started: dict[str, _Started] = {}
        self._containers: list[str] = []
        self._spent = 0.0

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a process that stays up, as the leader of its own session."""
        marked = environment | {_TOKEN: self._token}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=marked,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started[name] = _Started(command, environment, process)

    def all_live(self) -> None:
        """Raise an error if a process that should stay up has ended."""
        ended = [name for name, started in self._started.items() if started.process.poll() is not None]
        if ended:
            raise RuntimeError(f"ended by itself: {', '.join(ended)}")

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """Run a process to its end; raise an error if it fails."""
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=environment | {_TOKEN: self._token},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(f"{command} left with {done.returncode}:\n{done.stdout}\n{done.stderr}")

    def client(self, command: list[str], environment: dict[str, str]) -> "Client":
        """Start a process that answers requests, one line each."""
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=environment | {_TOKEN: self._token},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / "client.log").open("ab"),
            text=True,
            start_new_session=True,
        )
        return Client(process)

    def restart_killed(self, name: str) -> None:
        """Kill a process tree, and restart its process at once."""
        started = self._started[name]
        self._spent += cpu_seconds(_tree(started.process.pid))
        with contextlib.suppress(psutil.NoSuchProcess):
            kill_tree(started.process.pid)
        started.process.wait()
        self.start(name, started.command, started.environment)

    def postgres(self) -> str:
        """Start an empty Postgres, and return the address of its database, without a scheme."""
        port = self._container(
            "postgres:17", ["-c", "max_connections=200"], {"POSTGRES_PASSWORD": "peer"}, "-p"
        )
        ready = ("exec", self._containers[-1], "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}")
        wait_for("Postgres", lambda: _docker(*ready, check=False).returncode == 0, 60)
        return f"postgres:peer@127.0.0.1:{port}/postgres"

    def redis(self) -> str:
        """Start an empty Redis, and return its address."""
        port = self._container("redis:8", ["redis-server", "--bind", "127.0.0.1"], {}, "--port")
        ping = ("exec", self._containers[-1], "redis-cli", "-p", str(port), "ping")
        wait_for("Redis", lambda: "PONG" in _docker(*ping, check=False).stdout, 60)
        return f"redis://127.0.0.1:{port}/0"

    def _container(self, image: str, command: list[str], environment: dict[str, str], option: str) -> int:
        """Start a container in the host's network: a published port would add a proxy that is not metered."""
        port = free_port()
        name = f"bench-peer-{self._token}-{len(self._containers)}"
        self._containers.append(name)
        variables = [f"--env={variable}={value}" for variable, value in environment.items()]
        run = ("run", "--detach", "--network=host", "--name", name, *variables, image)
        _docker(*run, *command, option, str(port))
        return port

    def cpu_seconds(self) -> float:
        """Return the processor seconds that all of them have used so far."""
        processes = sum(cpu_seconds(_tree(started.process.pid)) for started in self._started.values())
        containers = sum(docker_stats.usage(name).cpu_seconds for name in self._containers)
        return self._spent + processes + containers

    def stop(self) -> None:
        """End all of them and what they have started, by request first, then by force."""
        found = set(self._ours())
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(found, timeout=GRACE_SECONDS)
        while left := [process for process in found | set(self._ours()) if _lives(process)]:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        for started in self._started.values():
            started.process.wait()
        for name in self._containers:
            _docker("rm", "--force", "--volumes", name, check=False)

    def _ours(self) -> Iterator[psutil.Process]:
        """Yield all processes: by descent, since a new title may hide the variable, and by the variable."""
        for started in self._started.values():
            yield from _tree(started.process.pid)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_TOKEN) == self._token:
                    yield process


class Client:
    """A peer's own client library in the peer's own environment, called over pipes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """Return the answer to a request; see `flows/requests_by_line.py` for its form."""
        assert self._process.stdin  # noqa: S101 - it was started with a pipe
        assert self._process.stdout  # noqa: S101
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's client has ended: see client.log")
        return json.loads(line)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _tree(number: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process_tree(number)
    return []


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done
