import re
import shutil
import subprocess

import pytest
import requests


def test_examples_are_urls_that_open(yeedu_mock, client):
    overview = requests.get(yeedu_mock.url, headers={"Accept": "application/json"}, timeout=90).json()
    assert overview["examples"]["v2"]["job"] == yeedu_mock.job_url(101)
    assert overview["examples"]["v2"]["notebook"] == yeedu_mock.notebook_url(201)
    examples = [*overview["examples"]["v1"].values(), *overview["examples"]["v2"].values()]
    for url in (*examples, overview["examples"]["health"], overview["docs"]):
        assert requests.get(url, timeout=90).status_code == 200


def test_links_that_clients_print_show_the_run(yeedu_mock, client):
    run_id = client.run_job(102, arguments="<script>alert(1)</script>")
    client.wait("spark/job", run_id)
    base = f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1"
    for path in ("run/{}/run-metrics?type=spark_job", "spark/{}/run-metrics?type=spark_job"):
        page = requests.get(f"{base}/{path.format(run_id)}", timeout=90).text
        assert "ERROR" in page
        assert "orders does not exist" in page
        assert "<script>" not in page
    for path in ("run/{}/run-logs", "spark/{}/run-logs", "spark/run/{}/run-logs"):
        logs = requests.get(f"{base}/{path.format(run_id)}", params={"log_type": "stderr"}, timeout=90).text
        assert "orders does not exist" in logs
        assert "Reading the table" not in logs


@pytest.mark.parametrize(
    "path", ["tenant/x/workspace/1/run/101/run-metrics", "tenant/x/workspace/1/spark/job/101", "run/1"]
)
def test_nothing_is_shown_at_a_wrong_address(yeedu_mock, path):
    assert requests.get(f"{yeedu_mock.url}/{path}", timeout=90).status_code == 404


def test_overview_lists_runs(yeedu_mock, client):
    run_id = client.run_job(102)
    page = requests.get(yeedu_mock.url, headers={"Accept": "text/html"}, timeout=90).text
    assert f"run/{run_id}/run-metrics" in page


def test_a_workspace_shows_what_can_be_run_in_it(yeedu_mock):
    page = requests.get(f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1", timeout=90)
    assert page.status_code == 200
    assert "hello-notebook" in page.text
    assert requests.get(page.url.removesuffix("1") + "2", timeout=90).status_code == 404


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


def page_of(yeedu_mock, run_id, kind):
    path = f"/tenant/{yeedu_mock.tenant}/workspace/1/run/{run_id}/run-metrics"
    return requests.get(yeedu_mock.url + path, params={"type": kind}, timeout=90).text


def test_a_finished_notebook_says_why_it_is_stopped(yeedu_mock, client):
    run_id = client.run_notebook(201)
    client.wait("notebook", run_id, "RUNNING")
    client.post(client.workspace(f"notebook/run/kill/{run_id}"))
    client.wait("notebook", run_id)
    page = page_of(yeedu_mock, run_id, "notebook")
    assert "Its client has stopped it" in page
    assert "data-log=" not in page


def test_outputs_in_every_form_are_shown_and_escaped(yeedu_mock, client):
    outputs = [
        {"output_type": "html", "Celloutput": "<b>bold</b>"},
        {"output_type": "display_data", "data": {"image/png": "aGk="}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mred\x1b[0m <i>"]},
        {"text": ["one ", "two"]},
    ]
    notebook = client.post(
        client.workspace("notebook"), {"notebook_name": "shown", "notebook_type": "Python3"}
    )
    notebook_id = notebook.json()["notebook_id"]
    cells = [{"source": "<script>", "outputs": outputs}]
    client.post(client.workspace(f"notebook/{notebook_id}/update"), {"cells": cells})
    page = requests.get(yeedu_mock.notebook_url(notebook_id), timeout=90).text
    for shown in (
        'srcdoc="&lt;b&gt;bold&lt;/b&gt;"',
        'src="data:image/png;base64,aGk="',
        "red &lt;i&gt;",
        "one two",
        "&lt;script&gt;",
    ):
        assert shown in page
    assert "\x1b" not in page


@pytest.mark.browser
def test_the_page_of_a_run_follows_its_log_and_its_state(yeedu_mock, client, until, tmp_path):
    body = {
        "name": "followed",
        "program": "import time\nfor n in range(5):\n    print('line', n)\n    time.sleep(3)\n",
    }
    job = requests.post(f"{yeedu_mock.url}/_control/jobs", json=body, timeout=90).json()["job_id"]
    run_id = client.run_job(job)
    client.wait("spark/job", run_id, "RUNNING")
    until(lambda: "line 0" in page_of(yeedu_mock, run_id, "spark_job"))
    assert "line 4" not in page_of(yeedu_mock, run_id, "spark_job")
    url = f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1/run/{run_id}/run-metrics?type=spark_job"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--disable-background-networking", f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000000"),
        *("--dump-dom", url),
    ]
    shown = "ERR_NETWORK_CHANGED"  # Chromium drops requests while a container's network comes or goes
    while "ERR_NETWORK_CHANGED" in shown:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert "line 4" in shown
    assert "badge done" in shown
