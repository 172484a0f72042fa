"""A city's layout: two branches, two environments with a Yeedu each, and two workers on one machine."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.platforms import (
    JSON,
    OUTPUT,
    ROOT,
    ComposePlatform,
    LocalPlatform,
    Platform,
    brought_up,
    commit,
    copy_checkout,
    free_port,
    image,
    wait_for,
)
from yeedu_mock.settings import Settings
from yeedu_mock.testing import running_mock

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.timeout(900)]

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
LOGIN = {"username": "of-staging", "password": "canary-password-of-staging"}
# docs/environments.md shows this file.
SECOND_WORKER = """\
services:
  staging-worker:
    extends: {file: docker-compose.yaml, service: worker}
    environment:
      WORKER_NAME: staging-worker
      WORKER_QUEUES: staging
    volumes:
      - staging-worker-data:/var/lib/prefect
volumes:
  staging-worker-data: {}
"""
# A Yeedu of staging's own, whose login is not production's.
SECOND_YEEDU = """\
  staging-yeedu:
    image: %s
    pull_policy: never
    networks: [platform]
    ports: ["127.0.0.1:%d:8080"]
    environment: {YEEDU_MOCK_USERNAME: %s, YEEDU_MOCK_PASSWORD: %s, YEEDU_MOCK_SPARE_KERNELS: "0"}
"""
PROJECT = {
    "flows/parking/count_cars.py": """
from prefect import flow

@flow(log_prints=True)
def count_cars(street: str = "Main Street"):
    print(f"counting cars in {street}")
""",
    "flows/parking/count_fees.py": """
from prefect import flow

@flow(log_prints=True)
def count_fees():
    print("counting fees")
""",
}
DEPLOYMENTS = """
  - name: count-cars
    entrypoint: flows/parking/count_cars.py:count_cars
    work_pool: *linux

  - name: count-fees
    entrypoint: flows/parking/count_fees.py:count_fees
    work_pool: *linux
"""


OWN_FILE = """\
name: parking
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
  - name: count-at-night
    entrypoint: flows/parking/count_cars.py:count_cars
    work_pool: {name: yeedu-pool}
"""


@dataclass
class City:
    """The platform of production, with staging beside it.

    Attributes:
        platform: The platform.
        staging_worker: The name of the worker of staging.
        staging_yeedu: The address of staging's Yeedu on this machine.
    """

    platform: Platform
    staging_worker: str
    staging_yeedu: str

    def deploy(self, *options: str) -> list[str]:
        """Run `make deploy` with options such as ONLY=name, and return the lines that it prints."""
        return self.platform.must("make", f"PYTHON={sys.executable}", "deploy", *options).splitlines()

    def secret(self, name: str) -> JSON | str:
        path = f"block_types/slug/secret/block_documents/name/{name}?include_secrets=true"
        return self.platform.api.get(path)["data"]["value"]


def outcomes(lines: list[str], kind: str = "deployment") -> dict[str, str]:
    """Return what the deployer said of each object of a kind, in its first word."""
    rows = [line.split(": ", 2) for line in lines if line.startswith(f"{kind}: ")]
    return {name: outcome.split()[0] for _, name, outcome in rows}


@contextmanager
def second_worker(platform: Platform) -> Iterator[str]:
    """Have a worker of the queue `staging` beside the platform's own, on the same machine."""
    if isinstance(platform, ComposePlatform):
        yield "staging-worker"  # it came up with the platform
        return
    attach = [str(platform.checkout / "worker" / "attach.sh"), "run", "--server", platform.address]
    attach += ["--name", "stage", "--work-queue", "staging"]
    attach += ["--folder", str(platform.checkout.parent / "stage")]
    attach += ["--flows-git-url", platform.checkout.as_uri()]
    attach += ["--environment", str(platform.checkout / ".venv")]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (
        (OUTPUT / "staging-worker.log").open("wb") as log,
        subprocess.Popen(attach, stdout=log, stderr=log, cwd=platform.checkout) as process,
    ):
        try:
            yield "stage"
        finally:
            process.terminate()
            process.wait(90)


@contextmanager
def second_yeedu(platform: Platform, folder: Path) -> Iterator[tuple[str, str]]:
    """Have a Yeedu of staging's own; yields its address for workers, and for this machine."""
    if isinstance(platform, ComposePlatform):
        port = free_port()
        file = platform.checkout / "docker-compose.override.yaml"
        service = SECOND_YEEDU % (image("yeedu-mock"), port, LOGIN["username"], LOGIN["password"])
        file.write_text(SECOND_WORKER.replace("volumes:\n  staging", f"{service}volumes:\n  staging"))
        yield "http://staging-yeedu:8080", f"http://localhost:{port}"
        return
    settings = Settings(port=0, state_directory=folder, spare_kernels=0, **LOGIN)
    with running_mock(settings) as yeedu:
        yield yeedu.url, yeedu.url


def online(platform: Platform) -> set[str]:
    records = platform.api.post("work_pools/yeedu-pool/workers/filter")
    return {record["name"] for record in records if record["status"] == "ONLINE"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ComposePlatform, id="compose", marks=[pytest.mark.docker, pytest.mark.long]),
        pytest.param(LocalPlatform, id="local", marks=pytest.mark.long),
    ],
)
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    checkout = tmp_path_factory.mktemp("city") / "yeedu-prefect"
    copy_checkout(checkout)
    file = checkout / "flows" / "print_message.py"
    production = file.read_text()
    git = ["git", "-C", str(checkout)]
    subprocess.run([*git, "checkout", "--quiet", "-b", "staging"], check=True)
    file.write_text(production.replace("print(message)", 'print("of staging:", message)'))
    commit(checkout, "Say more")
    subprocess.run([*git, "checkout", "--quiet", "main"], check=True)
    assert file.read_text() == production
    platform: Platform = request.param(checkout)
    platform.environment["WORKER_QUEUES"] = "default"
    with (
        second_yeedu(platform, tmp_path_factory.mktemp("yeedu")) as (address, address_here),
        brought_up(platform, f"city-{platform.kind}.log"),
        second_worker(platform) as name,
    ):
        platform.stop_schedules()
        settings = {
            "YEEDU_JOB_URL": f"{address}/tenant/{TENANT}/workspace/1/spark/job/101",
            "YEEDU_NOTEBOOK_URL": f"{address}/tenant/{TENANT}/workspace/1/spark/notebook/201",
            "YEEDU_HEALTH_URL": f"{address}/healthCheck",
            "YEEDU_USERNAME": LOGIN["username"],
            "YEEDU_PASSWORD": LOGIN["password"],
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (checkout / ".env.staging").write_text("".join(lines))
        wait_for("second worker", lambda: online(platform) == {"linux-worker", name}, 120)
        yield City(platform, name, address_here)


def runs_on_stagings_yeedu(city: City) -> list[str]:
    """Return who started each run of a job there."""
    address = f"{city.staging_yeedu}/api/v1"
    with requests.Session() as session:
        token = session.post(f"{address}/login", json=LOGIN, timeout=30).json()["token"]
        session.headers["Authorization"] = f"Bearer {token}"
        session.post(f"{address}/user/select/{TENANT}", timeout=30).raise_for_status()
        answer = session.get(f"{address}/workspace/1/spark/job/runs", timeout=30)
        answer.raise_for_status()
        return [run["created_by"]["username"] for run in answer.json()["data"]]


def watched(city: City, found: list[str], stop: threading.Event) -> None:
    """Collect what the engine tells of the containers of the deployer while they live."""
    project = f"label=com.docker.compose.project={city.platform.environment['COMPOSE_PROJECT_NAME']}"
    listed = ["docker", "ps", "--quiet", "--filter", project]
    listed += ["--filter", "label=com.docker.compose.oneoff=True"]
    while not stop.is_set():
        for container in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split():
            said = subprocess.run(
                ["docker", "inspect", container], capture_output=True, text=True, check=False
            )
            found += [said.stdout] if said.returncode == 0 else []
        time.sleep(0.2)  # between two looks; the deployer lives for seconds


def test_staging_is_registered_beside_production_with_blocks_of_its_own(city: City) -> None:
    api = city.platform.api
    before = {name: city.secret(name) for name in ("yeedu-connection-details", "yeedu-password", "warehouse")}
    production = {name: one["updated"] for name, one in api.deployments().items()}
    found: list[str] = []
    stop = threading.Event()
    watcher = threading.Thread(target=watched, args=(city, found, stop))
    if city.platform.kind == "compose":
        watcher.start()
    try:
        lines = city.deploy("ENVIRONMENT=staging")
    finally:
        stop.set()
        if watcher.is_alive():
            watcher.join()

    assert outcomes(lines, "block") == {
        "yeedu-connection-details-staging": "created",
        "yeedu-password-staging": "created",
        "warehouse-staging": "created",
    }
    assert set(outcomes(lines).values()) == {"created"}
    assert LOGIN["password"] not in "\n".join(lines)
    if city.platform.kind == "compose":
        assert found, "nobody looked at the deployer's container"
        assert LOGIN["password"] not in "".join(found)
    assert city.secret("yeedu-password-staging") == LOGIN["password"]
    connection = city.secret("yeedu-connection-details-staging")
    assert isinstance(connection, dict)
    assert connection["username"] == LOGIN["username"]

    city.deploy()
    assert {name: city.secret(name) for name in before} == before, "production's are as they were"
    deployments = api.deployments()
    assert {name: deployments[name]["updated"] for name in production} == production
    ours = deployments["run-yeedu-job-staging"]
    assert ours["work_queue_name"] == "staging"
    assert ours["parameters"]["login_password_block_name"] == "yeedu-password-staging"
    assert set(outcomes(city.deploy("ENVIRONMENT=staging")).values()) == {"unchanged"}


def test_each_environments_runs_are_its_own_workers_with_its_own_code_and_login(city: City) -> None:
    api = city.platform.api
    for suffix, worker, said in (
        ("", "linux-worker", "Hello from Yeedu on Prefect"),
        ("-staging", city.staging_worker, "of staging: Hello from staging"),
    ):
        run = api.run(f"run-shell-command{suffix}", {"command": "echo it ran on ${WORKER_NAME}"})
        assert run["state_type"] == "COMPLETED", api.log(run["id"])
        assert f"it ran on {worker}" in api.log_with(run["id"], "it ran on").splitlines()
        run = api.run(f"print-message{suffix}")
        assert said in api.log_with(run["id"], "Hello from").splitlines()

    for name, users in (("run-yeedu-job", []), ("run-yeedu-job-staging", [LOGIN["username"]])):
        run = api.run(name)
        assert run["state_type"] == "COMPLETED", api.log(run["id"])
        assert runs_on_stagings_yeedu(city) == users
    # Production's login would not do.
    refused = api.run("run-yeedu-job-staging", {"login_password_block_name": "yeedu_password"})
    assert refused["state_type"] == "FAILED"
    assert "password" in refused["state"]["message"]


def test_a_merge_registers_one_project_and_leaves_the_rest(city: City) -> None:
    platform, api = city.platform, city.platform.api
    for name, text in PROJECT.items():
        (platform.checkout / name).parent.mkdir(exist_ok=True)
        (platform.checkout / name).write_text(text)
    prefect_file = platform.checkout / "deployer" / "prefect.yaml"
    prefect_file.write_text(prefect_file.read_text() + DEPLOYMENTS)
    platform.edit("deployer/prefect.yaml", "description: Prints a message.", "description: Another one.")
    before = {name: one["updated"] for name, one in api.deployments().items()}

    lines = city.deploy("ONLY=flows/parking/")
    assert outcomes(lines) == {
        "count-cars": "created",
        "count-fees": "created",
        "summarise-payments": "unchanged",
    }
    assert outcomes(lines, "block") == outcomes(lines, "work pool") == outcomes(lines, "automation") == {}
    deployments = api.deployments()
    assert {name: deployments[name]["updated"] for name in before} == before
    assert outcomes(city.deploy("ONLY=count-cars count-fees")) == {
        "count-cars": "unchanged",
        "count-fees": "unchanged",
    }
    run = api.run("count-cars")
    api.log_with(run["id"], "counting cars in Main Street")

    wrong = platform.command("make", f"PYTHON={sys.executable}", "deploy", "ONLY=flows/parkin/")
    assert wrong.returncode != 0
    assert "did you mean 'flows/parking/'" in wrong.stdout + wrong.stderr

    # A project may have a file of its own, too: neither file deletes what the other one made.
    (platform.checkout / "flows" / "parking" / "prefect.yaml").write_text(OWN_FILE)
    of_project = {"PREFECT_FILE": "./flows/parking/prefect.yaml"}
    done = platform.command("make", f"PYTHON={sys.executable}", "deploy", environment=of_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout.splitlines()) == {"count-at-night": "created"}
    assert outcomes(city.deploy())["print-message"] == "changed"
    assert {"count-at-night", "count-cars", "print-message"} <= api.deployments().keys()

    # Promoted to staging, as a merge does it: that environment registers the project for itself.
    git = ["git", "-C", str(platform.checkout), "-c", "user.name=T", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "checkout", "--quiet", "staging"], check=True)
    subprocess.run([*git, "merge", "--quiet", "--no-edit", "main"], check=True)
    subprocess.run([*git, "checkout", "--quiet", "main"], check=True)
    lines = city.deploy("ENVIRONMENT=staging", "ONLY=flows/parking/")
    assert outcomes(lines) == {
        "count-cars-staging": "created",
        "count-fees-staging": "created",
        "summarise-payments-staging": "unchanged",
    }
    assert api.deployments()["count-cars-staging"]["work_queue_name"] == "staging"


def test_one_flow_is_registered_from_a_laptop(city: City, tmp_path: Path) -> None:
    """A clone in which no platform runs, and which knows none of the platform's settings."""
    laptop = tmp_path / "laptop"
    subprocess.run(["git", "clone", "--quiet", str(city.platform.checkout), str(laptop)], check=True)
    settings = ("PREFECT_", "YEEDU_", "FLOWS_", "WAREHOUSE_", "COMPOSE_", "WORKER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": city.platform.api.url}

    def deploy(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["make", f"PYTHON={sys.executable}", "deploy", *options]
        return subprocess.run(
            command, cwd=laptop, env=environment, capture_output=True, text=True, check=False, timeout=400
        )

    before = city.platform.api.deployments()["run-yeedu-job"]
    done = deploy("ONLY=print-message run-yeedu-job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout.splitlines()) == {"print-message": "unchanged", "run-yeedu-job": "unchanged"}
    assert "job_url kept: YEEDU_JOB_URL is not set here" in done.stdout
    assert f"flows: as pushed to {city.platform.checkout}" in done.stdout
    deployments = city.platform.api.deployments()
    assert deployments["print-message"]["description"] == "Another one."
    for field in ("updated", "parameters"):
        assert deployments["run-yeedu-job"][field] == before[field]
    assert not (laptop / ".local").exists()

    staging = deploy("ENVIRONMENT=staging", "ONLY=print-message")
    assert staging.returncode == 0, staging.stderr
    assert outcomes(staging.stdout.splitlines()) == {"print-message-staging": "changed"}
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    unreachable = deploy("ONLY=print-message")
    assert unreachable.returncode != 0
    assert "The Prefect server at http://127.0.0.1:9/api does not answer" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr


def test_a_login_of_staging_shows_nowhere(city: City) -> None:
    everything = city.platform.api.everything
    places = {name: json.dumps(everything(f"{name}/filter")) for name in ("logs", "block_documents")}
    places["services"] = city.platform.diagnose(lines=100_000)
    assert [name for name, text in places.items() if LOGIN["password"] in text] == []


def test_the_second_worker_is_the_one_that_the_page_shows() -> None:
    page = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    assert f"```yaml\n{SECOND_WORKER}```" in page
