import re

import pytest
import requests


def test_examples_are_urls_that_open(yeedu_mock, client):
    overview = requests.get(yeedu_mock.url, headers={"Accept": "application/json"}, timeout=5).json()
    assert overview["examples"]["v2"]["job"] == yeedu_mock.job_url(101)
    assert overview["examples"]["v2"]["notebook"] == yeedu_mock.notebook_url(201)
    examples = [*overview["examples"]["v1"].values(), *overview["examples"]["v2"].values()]
    for url in (*examples, overview["examples"]["health"], overview["docs"]):
        assert requests.get(url, timeout=5).status_code == 200


def test_links_that_clients_print_show_the_run(yeedu_mock, client):
    run_id = client.run_job(102, arguments="<script>alert(1)</script>")
    client.wait("spark/job", run_id)
    base = f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1"
    for path in ("run/{}/run-metrics?type=spark_job", "spark/{}/run-metrics?type=spark_job"):
        page = requests.get(f"{base}/{path.format(run_id)}", timeout=5).text
        assert "ERROR" in page
        assert "orders does not exist" in page
        assert "<script>" not in page
    for path in ("run/{}/run-logs", "spark/{}/run-logs", "spark/run/{}/run-logs"):
        logs = requests.get(f"{base}/{path.format(run_id)}", params={"log_type": "stderr"}, timeout=5).text
        assert "orders does not exist" in logs
        assert "Reading the table" not in logs


@pytest.mark.parametrize(
    "path", ["tenant/x/workspace/1/run/101/run-metrics", "tenant/x/workspace/1/spark/job/101", "run/1"]
)
def test_nothing_is_shown_at_a_wrong_address(yeedu_mock, path):
    assert requests.get(f"{yeedu_mock.url}/{path}", timeout=5).status_code == 404


def test_overview_lists_runs(yeedu_mock, client):
    run_id = client.run_job(102)
    page = requests.get(yeedu_mock.url, headers={"Accept": "text/html"}, timeout=5).text
    assert f"run/{run_id}/run-metrics" in page


def test_a_workspace_shows_what_can_be_run_in_it(yeedu_mock):
    page = requests.get(f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1", timeout=5)
    assert page.status_code == 200
    assert "hello-notebook" in page.text
    assert requests.get(page.url.removesuffix("1") + "2", timeout=5).status_code == 404


def test_the_description_of_the_api_needs_no_other_server(yeedu_mock):
    page = requests.get(f"{yeedu_mock.url}/docs", timeout=90)
    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page.text)
    assert len(addresses) >= 4
    for address in map("".join, addresses):
        assert address.startswith("/"), address
        assert requests.get(yeedu_mock.url + address, timeout=90).status_code == 200


def test_the_overview_gives_each_of_one_name_its_own_url(yeedu_mock):
    made = [
        requests.post(f"{yeedu_mock.url}/_control/{kind}", json=body, timeout=90).json()
        for kind, body in (
            ("jobs", {"program": "1", "name": "one name"}),
            ("jobs", {"program": "2", "name": "one name"}),
            ("notebooks", {"cells": [], "name": "one name"}),
        )
    ]
    overview = requests.get(yeedu_mock.url, headers={"Accept": "application/json"}, timeout=90).json()
    shown = {one["url"] for kind in ("jobs", "notebooks") for one in overview[kind]}
    for answer in made:
        url = yeedu_mock.job_url(answer["job_id"]) if "job_id" in answer else None
        assert (url or yeedu_mock.notebook_url(answer["notebook_id"])) in shown
