"""The platform on a Docker Swarm of three nodes: docs/swarm.md, with what it says of a node's death."""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults.stack import YeeduJob
from tests.platforms import ComposePlatform, copy_checkout, wait_for
from tests.swarm_nodes import CHECKOUT, ELSEWHERE, LOGIN, NAMES, Swarm, seconds, swarm_of

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("platform"),
]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The platform, up on three nodes, without schedules that start runs of their own."""
    checkout = tmp_path_factory.mktemp("swarm") / "yeedu-prefect"
    copy_checkout(checkout)
    ComposePlatform(checkout).must("docker", "compose", "build", "--quiet", timeout_seconds=900)
    with swarm_of(checkout, "yeedu-prefect-test-swarm", "10.201.7") as swarm:
        for volume in ELSEWHERE:
            label = f"yeedu-prefect.{volume}=here"
            swarm.on("node-1", "docker", "node", "update", "--label-add", label, "node-3")
        took = seconds(swarm.stack_up)
        tell(f"make stack-up on an empty Swarm: {took:.0f} s")
        swarm.stop_schedules()
        yield swarm


def tell(line: str) -> None:
    print(line, flush=True)


def start(swarm: Swarm, count: int, job_seconds: float) -> dict[str, YeeduJob]:
    """Start flow runs of a Yeedu job each, and return them once all run on the mock."""
    jobs = [swarm.yeedu_job(job_seconds) for _ in range(count)]
    runs = {swarm.start_yeedu(job): job for job in jobs}
    for job in jobs:
        swarm.await_remote_run(job)
    return runs


def assert_each_ended_once(swarm: Swarm, runs: dict[str, YeeduJob]) -> None:
    """One that is Crashed meanwhile starts again: its deployment has the tag for that."""

    def is_completed(run_id: str) -> bool:
        return swarm.api.get(f"flow_runs/{run_id}")["state_name"] == "Completed"

    for run_id, job in runs.items():
        wait_for(f"Completed run {run_id}", partial(is_completed, run_id), 400)
        assert len(swarm.remote_runs(job)) == 1, run_id


def starts_of(swarm: Swarm, runs: dict[str, YeeduJob]) -> list[int]:
    return [swarm.api.get(f"flow_runs/{run_id}")["run_count"] for run_id in runs]


def test_stack_runs_yeedu_jobs_on_workers_of_several_nodes(swarm: Swarm) -> None:
    workers = swarm.nodes_of_workers()
    assert workers.keys() == {"linux-worker-1", "linux-worker-2", "linux-worker-3"}
    assert set(workers.values()) == set(NAMES)
    online = {
        one["name"]
        for one in swarm.api.post("work_pools/yeedu-pool/workers/filter")
        if one["status"] == "ONLINE"
    }
    assert online == workers.keys()
    assert swarm.api.run("run-yeedu-job")["state_name"] == "Completed"
    assert [task["node"] for task in swarm.tasks("warehouse")] == ["node-3"], "where its label is"
    assert [task["node"] for task in swarm.tasks("postgres")] == ["node-1"]
    tasks = swarm.tasks("server") + swarm.tasks("worker") + swarm.tasks("postgres")
    swarm.stack_up()
    assert tasks == swarm.tasks("server") + swarm.tasks("worker") + swarm.tasks("postgres"), "nothing new"


def test_nothing_tells_the_secrets(swarm: Swarm) -> None:
    services = swarm.on("node-1", "docker", "service", "ls", "--quiet").split()
    secrets = swarm.on("node-1", "docker", "secret", "ls", "--quiet").split()
    told = swarm.on("node-1", "docker", "service", "inspect", *services)
    told += swarm.on("node-1", "docker", "secret", "inspect", *secrets)
    told += swarm.on("node-1", "cat", f"{CHECKOUT}/build/stack.yaml")
    password = LOGIN.partition(":")[2]
    assert password not in told
    [postgres] = swarm.tasks("postgres")
    file = "/run/platform/database/postgres-password"
    made = swarm.on(
        postgres["node"], "sh", "-c", f"docker exec $(docker ps -qf name=prefect_postgres) cat {file}"
    )
    assert len(made) > 20
    assert made not in told


def test_deployer_registers_anew_and_the_key_is_read_by_hand(swarm: Swarm) -> None:
    deployment = swarm.api.deployments()["run-yeedu-job"]
    swarm.api.delete(f"deployments/{deployment['id']}")
    swarm.typed("docker service update --force --detach yeedu-prefect_deployer")
    wait_for("deployment", lambda: "run-yeedu-job" in swarm.api.deployments(), 120)
    swarm.stop_schedules()
    log = swarm.typed("docker service logs --tail 20 yeedu-prefect_deployer")
    assert "run-yeedu-job" in log
    server = "docker exec $(docker ps --quiet --filter name=yeedu-prefect_server)"
    key = swarm.typed(f"{server} cat /run/platform/server/encryption-key")
    assert len(key) == 44


def test_backup_is_made_on_a_schedule_and_restored_by_hand(swarm: Swarm) -> None:
    swarm.typed("mkdir -p backups && chmod a+rwx backups")
    swarm.stack_up(COMPOSE_PROFILES="backup")
    made = wait_for("backup", lambda: swarm.typed("ls backups").split(), 60)
    before = swarm.api.deployments()
    swarm.api.delete(f"deployments/{before['run-yeedu-job']['id']}")
    postgres = "docker exec -i $(docker ps --quiet --filter name=yeedu-prefect_postgres)"
    users = [f"yeedu-prefect_{name}" for name in ("worker", "rescue", "yeedu-watch", "backup")]
    swarm.typed(f"docker service scale {' '.join(f'{name}=0' for name in users)}")
    states = "docker service ps --format '{{.CurrentState}}' yeedu-prefect_worker"
    wait_for("workers' end", lambda: "Running" not in swarm.typed(states), 120)
    for command in (
        "docker service scale yeedu-prefect_server=0",
        f"tar -xOf backups/{made[0]} database > database.dump",
        f"{postgres} pg_restore --clean --if-exists --no-owner --single-transaction --username prefect"
        " --dbname prefect < database.dump",
        f"cat local/backup/*.sql | {postgres} psql --username prefect --dbname prefect",
        "docker service scale yeedu-prefect_server=1",
        f"docker service scale {users[0]}=3 {' '.join(f'{name}=1' for name in users[1:])}",
        "rm database.dump",
    ):
        swarm.typed(command)
    wait_for("server", swarm.is_ready, 60)
    assert swarm.api.deployments().keys() == before.keys()
    assert swarm.api.run("run-yeedu-job")["state_name"] == "Completed", "its credentials are decrypted"
    swarm.stack_up(COMPOSE_PROFILES="")
    assert "yeedu-prefect_backup" not in swarm.typed("docker service ls")


def test_update_of_workers_and_server_loses_no_run(swarm: Swarm) -> None:
    runs = start(swarm, 6, 40)
    assert len({swarm.worker_of(run_id) for run_id in runs}) > 1
    before = {task["id"] for task in swarm.tasks("worker") + swarm.tasks("server")}
    took = seconds(lambda: swarm.stack_up(WORKER_LIMIT="12", EVENT_RETENTION_SECONDS="604801"))
    after = swarm.tasks("worker") + swarm.tasks("server")
    assert not before & {task["id"] for task in after}
    assert_each_ended_once(swarm, runs)
    starts = starts_of(swarm, runs)
    tell(f"update of 3 workers and the server: {took:.0f} s; starts of 6 runs: {starts}")


def test_new_login_is_a_new_secret(swarm: Swarm) -> None:
    names = set(swarm.on("node-1", "docker", "secret", "ls", "--format", "{{.Name}}").split())
    assert "yeedu-prefect_api-auth-string-1" in names
    swarm.stack_up(PREFECT_API_AUTH_STRING=f"{LOGIN}-new")
    assert swarm.api.ask("POST", "flow_runs/count").status_code == 401, "the old one is refused"
    names = set(swarm.on("node-1", "docker", "secret", "ls", "--format", "{{.Name}}").split())
    assert "yeedu-prefect_api-auth-string-2" in names
    assert "yeedu-prefect_api-auth-string-1" not in names
    swarm.stack_up(PREFECT_API_AUTH_STRING=LOGIN)
    assert swarm.api.run("run-yeedu-job")["state_name"] == "Completed"


def test_runs_of_a_node_that_dies_end_once_on_another(swarm: Swarm) -> None:
    runs, node = start(swarm, 9, 30), "node-2"
    [worker] = [name for name, place in swarm.nodes_of_workers().items() if place == node]
    hit = [run_id for run_id in runs if swarm.worker_of(run_id) == worker]
    assert hit
    killed = time.monotonic()
    swarm.kill_node(node)
    moved = wait_for("worker on another node", lambda: is_moved(swarm, worker, node), 180)
    tell(f"the worker of {node} runs on {moved} after {time.monotonic() - killed:.0f} s")
    assert_each_ended_once(swarm, runs)
    tell(f"{len(hit)} of 9 runs were hit, all ended {time.monotonic() - killed:.0f} s after the node's death")
    assert [swarm.api.get(f"flow_runs/{run_id}")["run_count"] for run_id in hit] == [2] * len(hit)
    swarm.start_node(node)
    swarm.await_engine(node)
    ready = ("docker", "node", "inspect", "--format", "{{.Status.State}}", node)
    wait_for("node back", lambda: swarm.on("node-1", *ready).strip() == "ready", 60)
    swarm.typed("docker service update --force --detach yeedu-prefect_worker")
    wait_for("worker on it", lambda: node in swarm.nodes_of_workers().values(), 180)


def is_moved(swarm: Swarm, worker: str, node: str) -> str:
    place: str = swarm.nodes_of_workers().get(worker, node)
    online = [one["name"] for one in swarm.api.post("work_pools/yeedu-pool/workers/filter")]
    return place if place != node and worker in online else ""


def test_server_and_its_data_come_back_with_their_node(swarm: Swarm) -> None:
    runs = start(swarm, 4, 40)
    count: int = swarm.api.post("flow_runs/count")
    killed = time.monotonic()
    swarm.kill_node("node-1")
    time.sleep(20)  # a machine's start
    swarm.start_node("node-1")
    wait_for("server", swarm.is_ready, 240)
    tell(f"the server answers {time.monotonic() - killed:.0f} s after its node's death, of which 20 s off")
    assert swarm.api.post("flow_runs/count") >= count
    assert_each_ended_once(swarm, runs)
    tell(f"4 runs ended {time.monotonic() - killed:.0f} s after it; starts {starts_of(swarm, runs)}")
    assert swarm.api.run("run-yeedu-job")["state_name"] == "Completed"
