"""What becomes of runs that were due while no worker polled: a real server, a real worker that comes back."""

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

from yeedu_worker.catch_up import catch_up

pytestmark = pytest.mark.long

MISSED = 6  # the ticks of half an hour
BEGUN = dt.datetime.now(dt.UTC)


def yaml(*policies):
    """A deployment for each policy; its last tick was 100 seconds before the tests began."""
    anchor = (BEGUN - dt.timedelta(seconds=100)).isoformat()
    text = """
pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $FLOWS_GIT_URL }}"}}]
deployments:
"""
    for policy in policies:
        tags = f"[catch-up:{policy}]" if policy else "[]"
        text += f"""
  - name: {policy or "untagged"}
    entrypoint: flows/one.py:run
    tags: {tags}
    work_pool: {{name: yeedu-pool}}
    schedules: [{{interval: 300, anchor_date: "{anchor}", slug: often}}]
"""
    return text


def miss_half_an_hour(platform, names):
    """Make the runs that the scheduler would have made while no worker polled."""
    since = BEGUN - dt.timedelta(minutes=30)
    for name in names:
        found = platform.client.read_deployment_by_name(f"one/{name}")
        window = {"start_time": since.isoformat(), "end_time": BEGUN.isoformat()}
        for run in runs_of(platform, name):
            if not run.auto_scheduled:
                platform.client.delete_flow_run(run.id)  # the first run
        platform.client.request("POST", f"/deployments/{found.id}/schedule", json=window)
        assert len(overdue(platform, name)) == MISSED


def runs_of(platform, name):
    found = platform.client.read_deployment_by_name(f"one/{name}").id
    return platform.client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found]))
    )


def overdue(platform, name):
    """The runs that were due before the test began; later ticks may come while it runs."""
    runs = [run for run in runs_of(platform, name) if run.expected_start_time < BEGUN]
    return sorted(runs, key=lambda run: run.expected_start_time)


def names_of_states(platform, name):
    return [run.state_name for run in overdue(platform, name)]


@pytest.fixture
def worker(platform, tmp_path):
    """The platform's own worker command, under a name of its own."""
    home = tmp_path / "worker-home"
    home.mkdir()
    log = tmp_path / "worker.log"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "WORKER_NAME": "comes-back",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_WEBSERVER_PORT": "0",
        "FLOWS_GIT_URL": platform.repository.url,
        **platform.server.environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from yeedu_worker.entrypoint import main; main()"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield log
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def missed(platform):
    names = ["untagged", "latest", "all", "skip"]
    platform.apply(yaml("", "latest", "all", "skip"))
    miss_half_an_hour(platform, names)


@pytest.mark.timeout(400)
def test_a_worker_that_comes_back_runs_each_deployment_as_its_policy_says(
    platform, missed, worker, eventually
):
    wanted = {
        "untagged": ["Skipped"] * (MISSED - 1) + ["Completed"],
        "latest": ["Skipped"] * (MISSED - 1) + ["Completed"],
        "all": ["Completed"] * MISSED,
        "skip": ["Skipped"] * MISSED,
    }

    def found():
        return {name: names_of_states(platform, name) for name in wanted}

    eventually(lambda: found() == wanted, "the runs to end", timeout_seconds=280)
    log = worker.read_text()
    assert "worker: skipped 5 missed runs of latest\n" in log
    assert "worker: skipped 6 missed runs of skip\n" in log


def poll(platform, name, *queues):
    """What a worker does first: it says that it is there, and asks for the runs of its queues."""
    platform.client.send_worker_heartbeat("yeedu-pool", name)
    body = {"work_queue_names": list(queues), "scheduled_before": BEGUN.isoformat()}
    platform.client.request("POST", "/work_pools/yeedu-pool/get_scheduled_flow_runs", json=body)


def test_nothing_is_skipped_while_another_worker_polls(platform, missed, eventually):
    poll(platform, "other")

    def polled():
        return catch_up(platform.client, "yeedu-pool", own_name="mine", plan_only=True).polled

    assert eventually(polled, "the queue to count as polled") == ["default"]
    assert catch_up(platform.client, "yeedu-pool", own_name="mine").skipped == {}
    assert names_of_states(platform, "skip").count("Skipped") == 0

    assert catch_up(platform.client, "yeedu-pool", own_name="other").skipped == {
        "untagged": 5,
        "latest": 5,
        "skip": 6,
    }


def test_each_queue_has_missed_only_what_nobody_polled_it_for(platform, eventually):
    """A worker of one queue looks after its own; what another one polls has missed nothing."""
    text = yaml("skip", "all", "latest")
    staging = "work_pool: {name: yeedu-pool, work_queue_name: staging}"
    platform.apply(text.replace("work_pool: {name: yeedu-pool}", staging, 1))
    miss_half_an_hour(platform, ["skip", "latest"])
    client = platform.client

    assert catch_up(client, "yeedu-pool", queues=["default"], plan_only=True).skipped == {"latest": 5}
    assert catch_up(client, "yeedu-pool", queues=["none"], plan_only=True).skipped == {}

    poll(platform, "of-default", "default")
    eventually(
        lambda: catch_up(client, "yeedu-pool", own_name="of-all", plan_only=True).polled == ["default"],
        "the queue to count as polled",
    )
    found = catch_up(client, "yeedu-pool", queues=["staging"], own_name="of-staging")
    assert (found.polled, found.skipped) == ([], {"skip": MISSED})
    assert names_of_states(platform, "skip") == ["Skipped"] * MISSED
    assert "Skipped" not in names_of_states(platform, "latest")
    assert catch_up(client, "yeedu-pool", own_name="of-default").skipped == {"latest": 5}


def test_the_deployer_skips_what_was_missed_and_tells_so_and_plan_only_tells(platform, missed):
    file = (platform.folder / "prefect.yaml").read_text()

    planned = platform.apply(file, plan=True)
    assert not planned.changes_planned
    assert platform.outcomes(planned, "missed runs") == {"yeedu-pool": "skip"}
    assert names_of_states(platform, "skip").count("Skipped") == 0

    applied = platform.apply(file)
    (row,) = [row for row in applied.rows if row.kind == "missed runs"]
    assert row.detail == "5 of latest, 6 of skip, 5 of untagged"
    assert names_of_states(platform, "skip") == ["Skipped"] * MISSED
    assert platform.outcomes(platform.apply(file), "missed runs") == {}


def test_runs_that_people_started_and_taken_runs_are_left(platform, missed):
    found = platform.client.read_deployment_by_name("one/skip").id
    by_hand = platform.client.create_flow_run_from_deployment(found)
    taken = overdue(platform, "skip")[0]
    platform.client.request(
        "POST", f"/flow_runs/{taken.id}/set_state", json={"state": {"type": "PENDING"}, "force": True}
    )

    assert catch_up(platform.client, "yeedu-pool").skipped["skip"] == MISSED - 1

    assert platform.client.read_flow_run(by_hand.id).state_name == "Scheduled"
    assert platform.client.read_flow_run(taken.id).state_name == "Pending"


def test_a_run_that_is_due_for_a_moment_only_is_not_skipped(platform):
    anchor = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)).isoformat()
    platform.apply(yaml("skip"))
    found = platform.client.read_deployment_by_name("one/skip")
    platform.client.request(
        "PATCH",
        f"/deployments/{found.id}/schedules/{found.schedules[0].id}",
        json={"schedule": {"interval": 300, "anchor_date": anchor}},
    )
    window = {"start_time": anchor, "end_time": dt.datetime.now(dt.UTC).isoformat()}
    platform.client.request("POST", f"/deployments/{found.id}/schedule", json=window)

    assert catch_up(platform.client, "yeedu-pool").skipped == {}


def test_a_pool_that_does_not_exist_has_missed_nothing(platform):
    assert catch_up(platform.client, "no-such-pool").skipped == {}


def test_an_unknown_policy_is_told_with_its_line(platform):
    (told,) = platform.apply(yaml("latets")).failures
    assert "prefect.yaml:7: deployment 'latets': " in told
    assert "did you mean 'catch-up:latest'?" in told
