"""What is switched off runs nothing: jobs, notebooks, workspaces, clusters."""

import pytest


@pytest.fixture
def cluster(client, request):
    return client.post("cluster", {"name": request.node.name}).json()["cluster_id"]


@pytest.fixture
def workspace(client, request):
    return client.post("workspace", {"name": request.node.name}).json()["workspace_id"]


@pytest.fixture
def job(client, cluster, workspace):
    body = {"name": "job", "cluster_id": cluster, "job_command": "true"}
    return client.post(f"workspace/{workspace}/spark/job", body).json()["job_id"]


@pytest.fixture
def notebook(client, cluster, workspace):
    body = {"notebook_name": "notebook", "notebook_type": "Python3", "cluster_id": cluster}
    return client.post(f"workspace/{workspace}/notebook", body).json()["notebook_id"]


def runs(client, workspace):
    kinds = ("spark/job", "notebook")
    return [run for kind in kinds for run in client.get(f"workspace/{workspace}/{kind}/runs").json()["data"]]


@pytest.mark.parametrize(
    ("method", "path", "which", "named"),
    [
        ("PUT", "workspace/disable", "workspace_id", "workspace"),
        ("PUT", "cluster/disable", "cluster_id", "cluster"),
        ("POST", "cluster/stop", "cluster_id", "cluster"),
        ("POST", "cluster/destroy", "cluster_id", "cluster"),
        ("PUT", "workspace/{workspace}/spark/job/disable", "job_id", "job"),
        ("PUT", "workspace/{workspace}/notebook/disable", "notebook_id", "notebook"),
    ],
)
def test_what_is_switched_off_refuses_runs_in_every_generation(
    client, workspace, cluster, job, notebook, method, path, which, named
):
    ids = {"workspace_id": workspace, "cluster_id": cluster, "job_id": job, "notebook_id": notebook}
    answer = client.request(method, path.format(workspace=workspace), params={which: ids[which]})
    assert answer.status_code in {200, 201}, answer.text
    here = f"workspace/{workspace}"
    starts = {
        "job": [(f"{here}/spark/job/run", {"job_id": job}), (f"{here}/spark/job", {"job_conf_id": job})],
        "notebook": [
            (f"{here}/notebook/run", {"notebook_id": notebook}),
            (f"{here}/notebook", {"notebook_conf_id": notebook}),
        ],
    }
    for kind in ("job", "notebook"):
        for url, body in starts[kind] if named in {kind, "workspace", "cluster"} else ():
            refused = client.post(url, body)
            assert refused.status_code == 409, refused.text
            assert f"The {named} {ids[which]} is " in refused.json()["error_message"]
    assert runs(client, workspace) == []


def test_what_is_switched_on_again_runs(client, workspace, cluster, job):
    for method, path, query in (
        ("PUT", "workspace/{}able", {"workspace_id": workspace}),
        ("PUT", f"workspace/{workspace}/spark/job/{{}}able", {"job_id": job}),
        ("PUT", "cluster/{}able", {"cluster_id": cluster}),
    ):
        for word in ("dis", "en"):
            assert client.request(method, path.format(word), params=query).status_code == 200
    started = client.post(f"workspace/{workspace}/spark/job/run", {"job_id": job})
    assert started.status_code == 200, started.text
