"""What `deployer status` says of each deployment: drift, its last and next run, and who polls."""

import datetime as dt
import json

import pytest
from declared import HEAD, ONE, POOLS
from prefect.states import Completed

from yeedu_deployer.report import Report
from yeedu_deployer.status import DeploymentStatus, State, is_in_step, print_status

TWO = """
  - name: two
    entrypoint: flows/two.py:run
    work_pool: {name: windows-pool}
"""


@pytest.fixture
def status(platform):
    def read(yaml, **chosen):
        deployer = platform.deployer(yaml, {"work-pools.yaml": POOLS}, {}, plan_only=True, **chosen)
        return {row.name: row for row in deployer.status()}

    return read


def test_each_way_to_differ_has_its_name_and_its_fields(platform, status):
    platform.apply(HEAD + ONE + TWO)
    flow_id = platform.client.create_flow_from_name("two")
    platform.client.create_deployment(flow_id=flow_id, name="by-hand")
    assert {name: row.state for name, row in status(HEAD + ONE + TWO).items()} == {
        "one": State.IN_STEP,
        "two": State.IN_STEP,
        "by-hand": State.FOREIGN,
    }

    one = platform.client.read_deployment_by_name("one/one")
    platform.client.update_deployment_schedule(one.id, one.schedules[0].id, active=False)
    edited = status(HEAD + ONE)
    assert (edited["one"].state, edited["two"].state) == (State.EDITED, State.DROPPED)
    (change,) = edited["one"].drift
    assert (change.field, change.old, change.new) == ("schedules.often.active", False, True)

    changed = status(HEAD + ONE.replace("[first]", "[second]") + TWO.replace("name: two", "name: three"))
    assert {name: row.state for name, row in changed.items()} == {
        "one": State.FILE_CHANGED,
        "three": State.MISSING,
        "two": State.DROPPED,
        "by-hand": State.FOREIGN,
    }
    assert {change.field for change in changed["one"].drift} == {"tags", "schedules.often.active"}


def test_runs_workers_and_pauses_are_told(platform, status, eventually):
    platform.apply(HEAD + ONE + TWO)
    one = platform.client.read_deployment_by_name("one/one").id
    first = next(run for run in platform.client.read_flow_runs() if not run.auto_scheduled)
    platform.client.set_flow_run_state(first.id, Completed(), force=True)
    platform.client.send_worker_heartbeat("yeedu-pool", "linux-worker")
    eventually(lambda: status(HEAD + ONE + TWO)["one"].next_run, "the scheduler's first run")

    asked = dt.datetime.now(dt.UTC)
    rows = status(HEAD + ONE + TWO)

    assert (rows["one"].last_run.id, rows["one"].last_run.state) == (str(first.id), "Completed")
    assert rows["one"].next_run > asked - dt.timedelta(minutes=5)  # a tick may be due at this moment
    assert (rows["one"].workers, rows["two"].workers) == (("linux-worker",), ())
    assert (rows["two"].last_run, rows["two"].next_run, rows["two"].paused) == (None, None, False)
    platform.client.pause_deployment(one)
    assert status(HEAD + ONE + TWO)["one"].paused


def test_lines_and_json_say_the_same(platform, status, capsys):
    platform.apply(HEAD + ONE + TWO)
    rows = list(status(HEAD + ONE.replace("[first]", "[canary-secret]") + TWO).values())
    report = Report(secrets=("canary-secret",))

    print_status(rows, report)
    lines = capsys.readouterr().out.splitlines()
    print_status(rows, report, as_json=True)
    document = json.loads(capsys.readouterr().out)

    assert not is_in_step(rows)
    assert lines[0].startswith("one: file changed  last run none  next run ")
    assert '    tags: server ["first"], file ["********"]' in lines
    assert lines[-1] == "two: in step  last run none  next run none  workers none polls"
    assert (document["format"], document["command"], document["in_step"]) == (1, "status", False)
    assert [one["state"] for one in document["deployments"]] == ["file changed", "in step"]
    assert document["deployments"][0]["drift"] == [
        {"field": "tags", "server": ["first"], "file": ["********"]}
    ]
    assert document["deployments"][1]["workers"] == []


def test_status_of_a_choice_says_nothing_of_the_rest(platform, status):
    platform.apply(HEAD + ONE + TWO)
    assert {name: row.state for name, row in status(HEAD + ONE, only=["one"]).items()} == {
        "one": State.IN_STEP
    }


def test_no_name_of_the_server_forges_a_line(capsys):
    evil = "evil \x1b[2J...\r\nprint-message: in step"
    row = DeploymentStatus(evil, State.FOREIGN, workers=(evil,))
    print_status([row], Report(failures=[evil]))
    printed = capsys.readouterr()

    shown = r"evil \x1b[2J...\r\nprint-message: in step"
    [line] = printed.out.splitlines()
    assert line.startswith(f"{shown}: ")
    assert line.endswith(f"workers {shown}")
    assert printed.err == f"error: {shown}\n"
