"""The two forms of the platform under test, behind one face: compose services, and local processes."""

import itertools
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import requests

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "tests" / "output"  # screenshots, and the logs of every service; ignored by git
T = TypeVar("T")
JSON = dict[str, Any]
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
# All platforms under test share images, and none with a platform that somebody uses.
IMAGES = {"IMAGE_PREFIX": "yeedu-prefect-test", "PLATFORM_VERSION": "test"}
# Those that stay up.
SERVICES = ("server", "worker", "postgres", "yeedu-mock", "warehouse", "git-server", "rescue")
# Each of the processes in which tests run gives ports of a part of its own, one after the other: below those
# that the kernel and Docker choose, for whoever gets one may take long to listen on it.
_FIRST_PORT, _PORTS, _PARTS = 12_000, 5_000, 4
_given = itertools.count(secrets.randbelow(_PORTS))


def wait_for(
    what: str, look: Callable[[], T | None], timeout_seconds: float, pause_seconds: float = 0.5
) -> T:
    """Return the first true answer of `look`; fail the test after the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {timeout_seconds:.0f} s")
        time.sleep(pause_seconds)


def free_port() -> int:
    """Return a port of this machine that nobody listens on, and that nobody else is given meanwhile."""
    process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST_PORT + int(process) % _PARTS * _PORTS
    while True:
        port = first + next(_given) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


def copy_checkout(target: Path) -> None:
    """Copy this working tree, uncommitted changes and all, into a repository of its own, in a new folder."""
    target.mkdir()
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another test's, which is gone by now
                shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=target, check=True)
    commit(target, "Start")


def commit(checkout: Path, message: str) -> None:
    """Commit everything in the checkout."""
    subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"]
    subprocess.run(["git", *author, "commit", "--quiet", "--message", message], cwd=checkout, check=True)


class Api:
    """The few calls of the Prefect API that the tests make.

    Args:
        url: The API's address.
        auth_string: The server's login, as `user:password`, if it has one.
    """

    def __init__(self, url: str, auth_string: str = "") -> None:
        self.url = url
        user, _, password = auth_string.partition(":")
        self._login = (user, password) if auth_string else None

    def post(self, path: str, body: JSON | None = None) -> Any:
        """POST JSON and return the JSON answer; raise for an error status."""
        return self._call("POST", path, body or {})

    def get(self, path: str) -> Any:
        """GET and return the JSON answer; raise for an error status."""
        return self._call("GET", path)

    def patch(self, path: str, body: JSON) -> None:
        """PATCH; raise for an error status."""
        self._call("PATCH", path, body)

    def delete(self, path: str) -> None:
        """DELETE; raise for an error status."""
        self._call("DELETE", path)

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask once, and return whatever the answer is."""
        return requests.request(method, f"{self.url}/{path}", json=body, auth=self._login, timeout=90)

    def _call(self, method: str, path: str, body: JSON | None = None) -> Any:
        """Ask again as Prefect's client does: a loaded SQLite answers 503, or late, while it is locked."""

        def ask() -> list[requests.Response]:
            answer = self.ask(method, path, body)
            return [answer] if answer.status_code != 503 else []

        [answer] = wait_for(f"answer but 503 to {path}", ask, 180)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, JSON]:
        """Return every deployment by its name."""
        return {deployment["name"]: deployment for deployment in self.post("deployments/filter")}

    def runs(self, name: str) -> list[JSON]:
        """Return the flow runs of the deployment of that name, oldest first."""
        return self.post(
            "flow_runs/filter",
            {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_ASC"},
        )

    def start(self, name: str, parameters: JSON | None = None) -> str:
        """Create a flow run of the deployment of that name and return its id."""
        return self.trigger(self.deployments()[name]["id"], parameters)

    def trigger(self, deployment: str, parameters: JSON | None = None) -> str:
        """Create a flow run of a deployment, by its id, and return the run's."""
        body = {"parameters": parameters or {}, "state": {"type": "SCHEDULED"}}
        return self.post(f"deployments/{deployment}/create_flow_run", body)["id"]

    def ended(
        self, runs: list[str], *, timeout_seconds: float = 300, pause_seconds: float = 0.2
    ) -> list[JSON]:
        """Wait until all runs are in a final state, and return them."""
        body = {"flow_runs": {"id": {"any_": runs}, "state": {"type": {"any_": sorted(FINAL)}}}}

        def all_ended() -> bool:
            return self.post("flow_runs/count", body) == len(runs)

        wait_for(f"end of {len(runs)} runs", all_ended, timeout_seconds, pause_seconds)
        return self.everything("flow_runs/filter", body)

    def finished(self, run_id: str, timeout_seconds: float = 200) -> JSON:
        """Wait for the flow run's final state and return the run."""

        def look() -> JSON | None:
            run = self.get(f"flow_runs/{run_id}")
            return run if run["state_type"] in FINAL else None

        try:
            return wait_for(f"final state of run {run_id}", look, timeout_seconds)
        except AssertionError as error:
            states = self.get(f"flow_run_states/?flow_run_id={run_id}")
            history = [f"{state['timestamp']} {state['name']} {state['message'] or ''}" for state in states]
            raise AssertionError("\n".join([str(error), *history, self.log(run_id)])) from None

    def run(self, name: str, parameters: JSON | None = None) -> JSON:
        """Run a deployment to its end and return the flow run."""
        return self.finished(self.start(name, parameters))

    def everything(self, path: str, body: JSON | None = None) -> list[JSON]:
        """Return all pages of a filter's answer."""
        found: list[JSON] = []
        while page := self.post(path, {**(body or {}), "offset": len(found)}):
            found += page
        return found

    def log(self, run_id: str) -> str:
        """Return the flow run's log as the UI shows it, subflows not included."""
        lines = self.everything(
            "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        )
        return "\n".join(line["message"] for line in lines)

    def log_with(self, run_id: str, text: str) -> str:
        """Return the log once it holds the text: log lines reach the server in batches."""

        def look() -> str | None:
            log = self.log(run_id)
            return log if text in log else None

        try:
            return wait_for(f"{text!r} in the log", look, 90)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is:\n{self.log(run_id)}") from None


def image(service: str) -> str:
    """Return the name of a service's image in platforms under test."""
    return f"{IMAGES['IMAGE_PREFIX']}-{service}:{IMAGES['PLATFORM_VERSION']}"


class Platform:
    """One running platform: its checkout, its API, and the commands that a user would type."""

    kind: str

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.port = free_port()
        self.mock_port = free_port()
        self.address = f"http://localhost:{self.port}"
        self.api = Api(f"{self.address}/api")
        self.environment = {
            **os.environ,
            **IMAGES,
            "COMPOSE_PROJECT_NAME": f"yeedu-prefect-test-{self.port}",
            "PREFECT_PORT": str(self.port),
            "YEEDU_MOCK_PORT": str(self.mock_port),
            "PREFECT_ALLOWED_HOSTS": "workstation.example",
        }

    def command(
        self, *arguments: str, environment: dict[str, str] | None = None, timeout_seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout with this platform's settings; the caller looks at its exit code."""
        return subprocess.run(
            arguments,
            cwd=self.checkout,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )

    def must(self, *arguments: str, timeout_seconds: float = 300) -> str:
        """Run a command that has to succeed, and return its standard output."""
        done = self.command(*arguments, timeout_seconds=timeout_seconds)
        if done.returncode:
            raise AssertionError(f"{arguments} left with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def up(self) -> str:
        """Start the platform and wait for its first Yeedu run; return what was printed."""
        return self.must(sys.executable, "-m", "local", "up", timeout_seconds=900)

    def down(self) -> None:
        """Stop the platform and keep its data."""
        self.must(sys.executable, "-m", "local", "down")

    def deploy(self, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the deployer once more."""
        return self.command(sys.executable, "-m", "local", "deploy", environment=environment)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the checkout and commit it."""
        path = self.checkout / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        commit(self.checkout, f"Change {file}")

    def stop_schedules(self) -> None:
        """Switch every schedule off, and wait for the end of what they started."""
        for deployment in self.api.deployments().values():
            for schedule in deployment["schedules"]:
                path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
                self.api.patch(path, {"active": False})
        under_way = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}}}}
        wait_for("quiet platform", lambda: not self.api.post("flow_runs/filter", under_way), 300)

    def remove(self) -> None:
        """Stop the platform, delete its data, and fail if anything is left behind."""
        raise NotImplementedError

    def diagnose(self, lines: int = 80) -> str:
        """Return the last lines of every service's log."""
        raise NotImplementedError


class ComposePlatform(Platform):
    """The platform as compose services, under a project name and ports of its own."""

    kind = "compose"

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        return self.must("docker", "compose", "ps", "--all", "--quiet", service).split()[0]

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a service's container, and return its standard output."""
        return self.must("docker", "compose", "exec", "-T", service, *command)

    def sql(self, statement: str) -> str:
        """Run a statement on Prefect's database, and return what it yields."""
        psql = ("psql", "--username=prefect", "--dbname=prefect", "--no-align", "--tuples-only", "--quiet")
        return self.inside("postgres", *psql, f"--command={statement}")

    def leftovers(self) -> str:
        """Return the containers, volumes and networks of this project."""
        project = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        return "".join(
            self.must("docker", *listing, "--filter", project, "--quiet")
            for listing in (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        )

    def remove(self) -> None:
        self.must("docker", "compose", "down", "--volumes")
        assert not self.leftovers()

    def diagnose(self, lines: int = 80) -> str:
        done = self.command("docker", "compose", "logs", "--no-color", "--tail", str(lines))
        return done.stdout + done.stderr


def scaled_settings(servers: int = 3) -> dict[str, str]:
    """Return the settings of a platform with several API servers, for `make` and for `docker compose`."""
    from tests.machines import machine

    return {
        "SCALE": "1",
        "COMPOSE_FILE": "docker-compose.yaml:deploy/scale.yaml",
        "API_SERVERS": str(servers),
        "CADDY_IMAGE": machine("caddy"),
    }


class ScaledPlatform(ComposePlatform):
    """The platform as compose services, with several API servers."""

    def __init__(self, checkout: Path) -> None:
        super().__init__(checkout)
        self.environment |= scaled_settings()


class LocalPlatform(Platform):
    """The platform as local processes, as on a machine without a Docker engine."""

    kind = "local"

    def __init__(self, checkout: Path) -> None:
        super().__init__(checkout)
        self.environment["DOCKER_HOST"] = "unix:///nonexistent"

    def processes(self) -> list[str]:
        """Return the command lines of living processes that mention this checkout."""
        found: list[str] = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if str(self.checkout) in line:
                    found.append(line)
        return found

    def remove(self) -> None:
        self.down()
        with suppress(AssertionError):  # what is left is told below
            wait_for("end of every process", lambda: not self.processes(), 60)
        assert self.processes() == []

    def diagnose(self, lines: int = 80) -> str:
        ends = {
            log.name: log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            for log in sorted((self.checkout / ".local" / "logs").glob("*"))
        }
        return "\n".join("\n".join([f"--- {name}", *end]) for name, end in ends.items())


P = TypeVar("P", bound=Platform)


@contextmanager
def brought_up(platform: P, log: str, lines: int = 80) -> Iterator[P]:
    """Have a platform up for as long as the block lasts; what its services logged is kept in `OUTPUT`."""
    try:
        platform.up()
        yield platform
    finally:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        (OUTPUT / log).write_text(platform.diagnose(lines), encoding="utf-8")
        platform.remove()
