"""A Docker Swarm of three nodes, each an engine in a container of its own, and the platform on it."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.faults.stack import Stack
from tests.machines import docker, machine
from tests.platforms import OUTPUT, Api, commit, image, wait_for

# The manager, which has the checkout, the server and its database; one for workers; one for what is elsewhere
# with others, Yeedu and the warehouse.
NAMES = ("node-1", "node-2", "node-3")
ELSEWHERE = ("yeedu-mock-data", "warehouse-data")
CHECKOUT = "/root/yeedu-prefect"
LOGIN = "admin:Chosen-For-Tests-0"
POSTGRES = "postgres:17"
IMAGES = ("server", "worker", "deployer", "rescue", "git-server", "yeedu-mock")
# Tests tell the mock what to do, and count what it was asked.
OVERLAY = """
services:
  yeedu-mock:
    environment: {YEEDU_MOCK_CONTROL: "on"}
    ports: !override ["0.0.0.0:8088:8080"]
  rescue:
    environment: {RESCUE_INTERVAL_SECONDS: "2"}
"""
SETTINGS = {
    "IMAGE_POLICY": "never",
    "PREFECT_BIND_ADDRESS": "0.0.0.0",
    "PREFECT_API_AUTH_STRING": LOGIN,
    "COMPOSE_FILE": "docker-compose.yaml:tests-control.yaml",
    "RESCUE_PENDING_SECONDS": "90",
    "WORKER_GRACE_SECONDS": "15",
    "WORKER_REPLICAS": "3",
}
# In cgroup v2 only leaves have processes; and a node that was killed left files of its engine behind.
_ENGINE = """
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/init
  xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
  sed -e 's/ / +/g' -e 's/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
rm -rf /var/run/docker /var/run/docker.pid
exec dockerd --host=unix:///var/run/docker.sock --no-new-privileges >>/tmp/dockerd.log 2>&1
"""


class Swarm(Stack):
    """The platform on three nodes.

    Args:
        checkout: What is copied to the manager.
        name: Before the names of its containers, of their volumes and of their network.
    """

    kind = "swarm"

    def __init__(self, checkout: Path, name: str) -> None:
        super().__init__(checkout)
        self.name = name
        self.api = Api(f"http://localhost:{self.port}/api", LOGIN)
        self.settings = dict(SETTINGS)
        (checkout / "tests-control.yaml").write_text(OVERLAY, encoding="utf-8")
        commit(checkout, "Add what tests need")

    # --- nodes ---

    def start_nodes(self, subnet: str) -> None:
        """Make a Swarm of three nodes, each of which keeps its address when it comes back."""
        docker("network", "create", "--subnet", f"{subnet}.0/24", self.name)
        for number, node in enumerate(NAMES, 11):
            ports = {"node-1": [f"{self.port}:8080"], "node-3": [f"{self.mock_port}:8088"]}.get(node, [])
            docker(
                *("run", "--detach", "--privileged", "--name", f"{self.name}-{node}", "--hostname", node),
                *("--network", self.name, "--ip", f"{subnet}.{number}"),
                *("--volume", f"{self.name}-{node}:/var/lib/docker"),
                *(option for port in ports for option in ("--publish", f"127.0.0.1:{port}")),
                *(machine("engine"), "sh", "-c", _ENGINE),
            )
        for node in NAMES:
            self.await_engine(node)
        self.on("node-1", "docker", "swarm", "init", "--advertise-addr", f"{subnet}.11")
        token = self.on("node-1", "docker", "swarm", "join-token", "--quiet", "worker").strip()
        for node in NAMES[1:]:
            self.on(node, "docker", "swarm", "join", "--token", token, f"{subnet}.11:2377")

    def await_engine(self, node: str) -> None:
        """Wait until a node's engine answers."""
        there = ["docker", "exec", f"{self.name}-{node}", "docker", "info"]
        wait_for(
            f"engine of {node}",
            lambda: not subprocess.run(there, capture_output=True, check=False).returncode,
            90,
        )

    def carry_images(self, names: Sequence[str], folder: Path) -> None:
        """Bring images of this machine to every node, as `docker save` and `docker load` do."""
        file = folder / "images.tar"
        docker("save", "--output", str(file), *names)

        def load(node: str) -> None:
            with file.open("rb") as content:
                command = [
                    "docker",
                    "exec",
                    "--interactive",
                    f"{self.name}-{node}",
                    "docker",
                    "load",
                    "--quiet",
                ]
                subprocess.run(command, stdin=content, capture_output=True, check=True)

        with ThreadPoolExecutor() as pool:
            list(pool.map(load, NAMES))
        file.unlink()

    def on(self, node: str, *command: str, timeout_seconds: float = 300) -> str:
        """Run a command on a node, and return what it prints."""
        return docker("exec", f"{self.name}-{node}", *command, timeout_seconds=timeout_seconds)

    def typed(self, command: str) -> str:
        """Run what a user types in the checkout on the manager, and return what it prints."""
        return docker("exec", "--workdir", CHECKOUT, f"{self.name}-node-1", "bash", "-c", command)

    def kill_node(self, node: str) -> None:
        """End a node and all that runs on it, without a word."""
        docker("kill", f"{self.name}-{node}")

    def start_node(self, node: str) -> None:
        """Start a node again."""
        docker("start", f"{self.name}-{node}")

    # --- the stack ---

    def put_checkout(self) -> None:
        """Copy the checkout to the manager, with the settings."""
        lines = [f"{name}={value}" for name, value in {**self.settings, **self.images}.items()]
        (self.checkout / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.on("node-1", "mkdir", "-p", CHECKOUT)
        docker("cp", "--quiet", f"{self.checkout}/.", f"{self.name}-node-1:{CHECKOUT}")
        self.on("node-1", "chown", "-R", "root:root", CHECKOUT)

    @property
    def images(self) -> dict[str, str]:
        """The settings by which the images under test are found."""
        return {name: self.environment[name] for name in ("IMAGE_PREFIX", "PLATFORM_VERSION")}

    def stack_up(self, **settings: str) -> str:
        """Run `make stack-up` with other settings, and return what it prints."""
        self.settings |= settings
        self.put_checkout()
        return self.on("node-1", "make", "-C", CHECKOUT, "stack-up", timeout_seconds=700)

    def tasks(self, service: str) -> list[dict[str, str]]:
        """Return the id and the node of each task of a service that is to run."""
        shown = "{{.ID}} {{.Node}} {{.CurrentState}}"
        where = (f"yeedu-prefect_{service}", "--filter", "desired-state=running", "--format", shown)
        lines = self.on("node-1", "docker", "service", "ps", *where).splitlines()
        return [dict(zip(("id", "node", "state"), line.split(), strict=False)) for line in lines]

    def running(self, service: str) -> int:
        """Return how many tasks of a service run and are healthy."""
        return sum(task["state"] == "Running" for task in self.tasks(service))

    def nodes_of_workers(self) -> dict[str, str]:
        """Return where each worker runs, by its name."""
        shown = ("--filter", "desired-state=running", "--format", "{{.Name}} {{.Node}}")
        lines = self.on("node-1", "docker", "service", "ps", *shown, "yeedu-prefect_worker").splitlines()
        return {
            f"linux-{task.rpartition('_')[2].replace('.', '-')}": node for task, node in map(str.split, lines)
        }

    def worker_of(self, run_id: str) -> str:
        """Return the name of the worker that took a flow run last."""
        return self.api.get(f"flow_runs/{run_id}")["labels"].get("prefect.worker.name", "")

    def is_ready(self) -> bool:
        """Tell whether the API answers, and reaches its database."""
        try:
            return self.api.ask("GET", "ready").status_code == 200
        except OSError:
            return False

    def diagnose(self, lines: int = 200) -> str:
        """Return the end of every service's log, and what became of each task."""
        script = (
            "for s in $(docker service ls --format '{{.Name}}'); do echo \"== $s\"; "
            "docker service ps --no-trunc $s; timeout 20 docker service logs --raw --tail "
            f"{lines} $s 2>&1; done"
        )
        command = ["docker", "exec", f"{self.name}-node-1", "sh", "-c", script]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300
        )
        return done.stdout

    def remove(self) -> None:
        """End the nodes, and delete all that they had."""
        nodes = [f"{self.name}-{node}" for node in NAMES]
        for command in (
            ["docker", "rm", "--force", "--volumes", *nodes],
            ["docker", "volume", "rm", "--force", *nodes],
            ["docker", "network", "rm", self.name],
        ):
            subprocess.run(command, capture_output=True, check=False)


@contextmanager
def swarm_of(checkout: Path, name: str, subnet: str, further: Sequence[str] = ()) -> Iterator[Swarm]:
    """A Swarm that has the images and the checkout, and no stack yet; what it said is kept."""
    swarm = Swarm(checkout, name)
    try:
        swarm.start_nodes(subnet)
        swarm.carry_images([POSTGRES, *map(image, IMAGES), *further], checkout.parent)
        yield swarm
    finally:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        (OUTPUT / "swarm.log").write_text(swarm.diagnose(), encoding="utf-8")
        swarm.remove()


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
