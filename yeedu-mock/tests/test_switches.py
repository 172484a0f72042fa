"""What nobody outside Yeedu knows is a switch: what switches may be, and those of what is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

from yeedu_mock.control.switches import SwitchError, Switches
from yeedu_mock.settings import Settings
from yeedu_mock.testing import running_mock

# What switches may be.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"list_oder": "x"}, "There is no switch 'list_oder'; did you mean list_order?"),
        ({"zzz": 1}, "There is no switch 'zzz'; GET /_control/switches lists those there are."),
        (
            {"list_order": "sideways"},
            "The switch list_order must be 'newest_first' or 'oldest_first', not 'sideways'.",
        ),
        ({"log_ranges": "yes"}, "The switch log_ranges must be a valid boolean, not 'yes'."),
        ({"log_ranges": 1}, "The switch log_ranges must be a valid boolean, not 1."),
        (
            {"submission_seconds": -1},
            "The switch submission_seconds must be greater than or equal to 0, not -1.",
        ),
        ({"logs_missing": ["log"]}, "The switch logs_missing must be 'stdout' or 'stderr', not 'log'."),
        ({"gateway_status": 200}, "The switch gateway_status must be 404, 405, 502, 503 or 504, not 200."),
    ],
)
def test_a_switch_that_cannot_be_so_is_refused_in_one_sentence(yeedu_mock, yeedu_switches, changes, sentence):
    before = yeedu_mock.mock.control.switches.model_dump()
    url = f"{yeedu_mock.url}/_control/switches"
    answer = requests.patch(url, json={"edit_status": 201, **changes}, timeout=90)
    assert (answer.status_code, answer.json()["error_message"]) == (400, sentence)
    with pytest.raises(SwitchError) as raised:
        yeedu_switches(**changes)
    assert str(raised.value) == sentence
    assert yeedu_mock.mock.control.switches.model_dump() == before


def test_switches_of_the_start_are_what_a_reset_returns_to(tmp_path):
    switches = {"list_order": "oldest_first", "stop_delay_seconds": 2}
    settings = Settings(port=0, state_directory=tmp_path, spare_kernels=0, control=True, switches=switches)
    with running_mock(settings) as mock:
        mock.switch(list_order="newest_first", edit_status=201)
        requests.post(f"{mock.url}/_control/reset", timeout=90)
        shown = requests.get(f"{mock.url}/_control/switches", timeout=90).json()
    assert shown == {**Switches().model_dump(), **switches}


def test_the_readme_lists_every_switch_with_its_default():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| `([^|]*)` \|", readme, re.MULTILINE))
    assert {name: json.loads(default) for name, default in listed.items()} == Switches().model_dump()


# What is shown of runs and definitions.


@pytest.mark.parametrize(
    "hidden", [["conf"], ["created_at", "created_by"], ["execution_time_sec", "job_conf"]]
)
def test_runs_can_lack_fields(client, job, yeedu_switches, hidden):
    run_id = client.run_job(job, conf=["spark.a=b"])
    client.wait("spark/job", run_id)
    one, listed = client.workspace(f"spark/job/run/{run_id}"), client.workspace("spark/job/runs")
    v1 = client.workspace(f"spark/job/{run_id}")
    before = client.get(one).json()
    assert set(hidden) <= before.keys()
    yeedu_switches(run_fields_hidden=hidden)
    lacks = client.get(one).json()
    assert before.keys() - lacks.keys() == set(hidden)
    assert client.get(listed, params={"job_ids": job}).json()["data"] == [lacks]
    assert set(hidden).isdisjoint(client.get(v1).json())
    assert ("spark.a=b" in str(lacks)) == ("conf" not in hidden)


@pytest.mark.parametrize(("order", "is_reversed"), [("newest_first", True), ("oldest_first", False)])
def test_lists_of_runs_have_either_order(client, job, yeedu_switches, order, is_reversed):
    yeedu_switches(list_order=order)
    started = [client.run_job(job) for _ in range(3)]
    assert [run["run_id"] for run in client.runs_of(job)] == sorted(started, reverse=is_reversed)
    query = {"job_conf_ids": job, "job_status": ["DONE", "SUBMITTED", "RUNNING"]}
    v1 = client.get(client.workspace("spark/jobs"), params=query).json()["data"]
    assert [run["job_id"] for run in v1] == sorted(started, reverse=is_reversed)


@pytest.mark.parametrize("status", [200, 404])
def test_an_empty_list_is_a_200_or_a_404(client, job, yeedu_switches, status):
    yeedu_switches(empty_list_status=status)
    for path, query in (("spark/job/runs", {"job_ids": job}), ("spark/jobs", {"job_name": "none of it"})):
        answer = client.get(client.workspace(path), params=query)
        assert answer.status_code == status
        assert answer.json().get("data") == ([] if status == 200 else None)


def test_a_new_run_can_be_unknown_for_a_while(client, job, yeedu_switches, until):
    yeedu_switches(replica_lag_seconds=3)
    run_id = client.run_job(job)
    path = client.workspace(f"spark/job/run/{run_id}")
    assert client.get(path).status_code == 404
    assert client.runs_of(job) == []
    until(lambda: client.get(path).status_code == 200)
    assert [run["run_id"] for run in client.runs_of(job)] == [run_id]


@pytest.mark.parametrize("coincide", [False, True])
def test_ids_of_jobs_and_notebooks_can_coincide(client, yeedu_mock, yeedu_switches, job, coincide):
    yeedu_switches(start_by_hand=True)
    job_run = client.run_job(job)
    yeedu_switches(coinciding_ids=coincide)
    control = f"{yeedu_mock.url}/_control"
    body = {"cells": ["1"], "name": "a twin"}
    notebook = requests.post(f"{control}/notebooks", json=body, timeout=90).json()["notebook_id"]
    assert (notebook == job) == coincide
    notebook_run = client.run_notebook(notebook)
    assert (job_run == notebook_run) == coincide
    for kind, run, of in (("spark/job", job_run, "job"), ("notebook", notebook_run, "notebook")):
        shown = client.get(client.workspace(f"{kind}/run/{run}")).json()
        assert (shown["run_id"], shown[f"{of}_id"]) == (run, job if of == "job" else notebook)
        ended = requests.post(
            f"{control}/runs/{run}", params={"kind": of}, json={"status": "TERMINATED"}, timeout=90
        )
        assert ended.json() == {"run_status": "TERMINATED"}
        assert client.wait(kind, run) == "TERMINATED"


@pytest.mark.parametrize("status", [404, 400, 403, 410])
def test_unknown_ids_get_what_is_asked_for(client, yeedu_switches, status):
    yeedu_switches(not_found_status=status)
    paths = ("spark/job/run/999999", "spark/job?job_id=999999", "notebook/999999")
    assert [client.get(client.workspace(path)).status_code for path in paths] == [status] * 3
    assert client.get("workspace/999999/spark/jobs").status_code == status


@pytest.mark.parametrize("status", [200, 201])
def test_edits_are_answered_with_either_status(client, job, yeedu_switches, status):
    yeedu_switches(edit_status=status)
    for path, query in (("spark/job", {"job_id": job}), ("spark/job/conf", {"job_conf_id": job})):
        answer = client.request("PUT", client.workspace(path), params=query, json={"max_concurrency": 3})
        assert (answer.status_code, answer.json()["max_concurrency"]) == (status, 3)


def test_answers_whose_content_is_unknown_can_be_bare(anonymous, yeedu_mock, yeedu_switches):
    yeedu_switches(bare_answers=True)
    anonymous.log_in("demo", yeedu_mock.settings.password)
    answer = anonymous.post(f"user/select/{yeedu_mock.tenant}")
    assert (answer.status_code, answer.json()) == (201, {})
    run = anonymous.run_notebook(201)
    anonymous.wait("notebook", run, "RUNNING")
    query = {"yeedu_session": anonymous.token}
    path = anonymous.workspace(f"notebook/run/{run}/kernel/ws")
    assert anonymous.get(path, params=query).json() == {}
    anonymous.post(anonymous.workspace(f"notebook/run/kill/{run}"))
    anonymous.wait("notebook", run)
