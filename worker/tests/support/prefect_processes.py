"""A Prefect server and workers as processes of their own, for tests of how flow runs are started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.platforms import FINAL, Api, free_port, wait_for
from tests.prefect_process import PrefectProcess
from yeedu_worker.process_tree import children_by_parent, descendants

PROGRAMS = Path(sys.executable).parent
STOCK = "python -m prefect.engine"
OURS = "yeedu-flow-run"
START_SECONDS = 250

# What a process pool's template has, in short.
TEMPLATE: dict[str, Any] = {
    "job_configuration": {
        name: f"{{{{ {name} }}}}"
        for name in ("command", "env", "working_dir", "stream_output", "name", "labels")
    },
    "variables": {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "working_dir": {"type": "string"},
            "stream_output": {"type": "boolean", "default": True},
            "name": {"type": "string"},
            "labels": {"type": "object"},
        },
    },
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as an author of its own, and return its output."""
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, files: Mapping[str, str]) -> str:
    """Write files into a repository, which is made when there is none; return the commit."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change")
    return git(folder, "rev-parse", "HEAD")


@dataclass
class PrefectServer:
    """A Prefect server on SQLite, and what is made on it."""

    url: str
    folder: Path

    @property
    def api(self) -> Api:
        return Api(self.url)

    def environment(self, home: Path | None = None) -> dict[str, str]:
        """Return the environment of a process that works with this server."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)]),
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(home or self.folder / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def make_pool(self, name: str, command: str | None) -> None:
        """Make a process pool whose flow runs are started by a command, or else by what Prefect chooses."""
        template = json.loads(json.dumps(TEMPLATE))
        template["variables"]["properties"]["command"]["default"] = command
        self.api.post("work_pools/", {"name": name, "type": "process", "base_job_template": template})

    def deploy(self, name: str, entrypoint: str, repository: str, **more: Any) -> str:
        """Make a deployment of a flow in a git repository, and return its id."""
        flow = self.api.post("flows/", {"name": name})["id"]
        step = {"prefect.deployments.steps.git_clone": {"repository": repository}}
        body = {"name": name, "flow_id": flow, "entrypoint": entrypoint, "pull_steps": [step], **more}
        return self.api.post("deployments/", body)["id"]

    def start_run(self, deployment: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Make a flow run that is due now, and return its id."""
        body = {"parameters": dict(parameters or {}), "state": {"type": "SCHEDULED"}, **more}
        return self.api.post(f"deployments/{deployment}/create_flow_run", body)["id"]

    def cancel(self, run: str) -> None:
        """Ask for the cancellation of a flow run."""
        self.api.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def state(self, run: str) -> str:
        return self.api.get(f"flow_runs/{run}")["state_type"]

    def await_state(self, run: str, *types: str, timeout_seconds: float = 200) -> dict[str, Any]:
        """Wait until a flow run is in one of the states, by default in any final one; return the run."""
        wanted = set(types) or FINAL

        def look() -> dict[str, Any] | None:
            found = self.api.get(f"flow_runs/{run}")
            return found if found["state_type"] in wanted else None

        return wait_for(f"state {' or '.join(sorted(wanted))} of run {run}", look, timeout_seconds, 0.1)


@contextmanager
def prefect_server(folder: Path) -> Iterator[PrefectServer]:
    """Run a Prefect server in a folder."""
    with PrefectProcess(folder) as process:
        yield PrefectServer(process.url, folder)


@dataclass
class Worker:
    """A worker in a process of its own, with everything that it started.

    Attributes:
        process: The watchdog, whose children are the worker's own process and the prefork server.
        temporary: Where all of it has its temporary files.
        has_prefork: Whether there is a prefork server.
    """

    process: "subprocess.Popen[bytes]"
    log_file: Path
    temporary: Path
    has_prefork: bool = True
    _seen: dict[int, str] = field(default_factory=dict[int, str])
    _began: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def await_log(self, text: str, timeout_seconds: float = START_SECONDS, times: int = 1) -> None:
        """Wait until the worker's output has a text so many times."""
        try:
            wait_for(f"{text!r} in the log", lambda: self.log.count(text) >= times, timeout_seconds, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log}") from None

    def processes(self, part: str = "") -> dict[int, str]:
        """Return the worker's living processes and those of its flow runs, by their command lines.

        They are descendants of the first, or marked by the worker's temporary folder, or were either once.
        """
        family = {member.number for member in descendants(self.process.pid)}
        if self.process.poll() is None:
            family.add(self.process.pid)
        mark = f"TMPDIR={self.temporary}".encode()
        found: dict[int, str] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                number = int(folder.name)
                try:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    began = (folder / "stat").read_text().rpartition(")")[2].split()[19]
                    is_ours = number in family or self._seen.get(number) == began  # numbers are used again
                    variables = b"" if is_ours else (folder / "environ").read_bytes()
                except OSError:
                    continue
                if line and (is_ours or any(one.startswith(mark) for one in variables.split(b"\0"))):
                    found[number] = line
                    self._seen[number] = began
        return {number: line for number, line in found.items() if part in line}

    def own(self) -> set[int]:
        """Return the watchdog, the worker's own process, and the prefork server."""
        servers = {self.prefork_server()} if self.has_prefork else set[int]()
        return {self.process.pid, *self.processes("yeedu_worker.serve"), *servers}

    def of_runs(self) -> list[int]:
        """Return the processes of flow runs: clients, guards, children, engines, and what flows started."""
        own = self.own()
        return [number for number in self.processes() if number not in own]

    def prefork_server(self) -> int:
        """Return the process number of the prefork server: of the parent, not of a child."""
        return wait_for("prefork server", self._prefork_servers, 60, 0.05)[0]

    def _prefork_servers(self) -> list[int]:
        numbers = {child.number for child in children_by_parent().get(self.process.pid, [])}
        return [number for number in self.processes("yeedu_worker.prefork.server") if number in numbers]


@contextmanager
def worker(server: PrefectServer, pool: str, folder: Path, **variables: str) -> Iterator[Worker]:
    """Run the platform's worker for a pool until the end of the block; fail if anything of it is left."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    log_file = folder / "worker.log"
    environment = {
        **server.environment(folder / "home"),
        "TMPDIR": str(temporary),
        "WORKER_POOL": pool,
        "WORKER_NAME": pool,
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
        **variables,
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "yeedu-worker"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    running = Worker(process, log_file, temporary, variables.get("WORKER_PREFORK") != "false")
    try:
        running.await_log("started!")
        if running.has_prefork:
            running.await_log("yeedu-prefork: ")  # ready, or left out
        yield running
    finally:
        process.terminate()
        try:
            process.wait(60)
            wait_for("end of all processes", lambda: not running.processes(), 60, 0.1)
            # Prefect's own worker leaves this one, empty.
            assert [found.name for found in temporary.iterdir() if found.name != "runner_storage"] == []
        finally:
            for left in running.processes():
                os.kill(left, signal.SIGKILL)
