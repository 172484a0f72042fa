"""What is exported can be imported: whole workspaces, single jobs and notebooks."""

import pytest

CELLS = [{"cell_type": "code", "source": "1 + 1", "metadata": {}, "outputs": []}]


@pytest.fixture
def workspace(client, request):
    """The id of a workspace with two jobs, one of them disabled, and a notebook."""
    body = {"name": f"from {request.node.name}", "description": "to export"}
    made = client.post("workspace", body).json()["workspace_id"]
    jobs = f"workspace/{made}/spark/job"
    job = {
        "name": "job",
        "job_command": "echo moved",
        "cluster_id": 30,
        "conf": ["a=1"],
        "max_concurrency": 3,
    }
    client.post(jobs, job)
    client.post(jobs, {"name": "off", "program": "print('off')", "language": "Scala"})
    client.request("PUT", f"{jobs}/disable", params={"job_name": "off"})
    notebook = {"notebook_name": "notebook", "notebook_type": "sql", "notebook_cells": {"cells": CELLS}}
    client.post(f"workspace/{made}/notebook", notebook)
    return made


def export(client, workspace, **query):
    answer = client.get("workspace/export", params={"workspace_id": workspace, **query})
    assert answer.status_code == 200, answer.text
    return answer


def definitions(client, workspace):
    """What a workspace holds, without what differs from one workspace to the next."""
    content = export(client, workspace).json()
    own = {"job_id", "notebook_id", "workspace_id", "created_at", "modified_at"}
    return [
        {key: value for key, value in one.items() if key not in own}
        for one in content["jobs"] + content["notebooks"]
    ]


def test_a_workspace_arrives_as_it_was(client, workspace, request):
    exported = export(client, workspace)
    assert exported.headers["content-disposition"].startswith('attachment; filename="from test_a_workspace')
    assert ".yeedu" in exported.headers["content-disposition"]
    query = {"workspace_name": f"to {request.node.name}"}
    imported = client.post("workspace/import", exported.json(), params=query)
    assert imported.status_code == 201, imported.text
    assert imported.json()["jobs"] == ["job", "off"]
    arrived = imported.json()["workspace_id"]
    assert definitions(client, arrived) == definitions(client, workspace)
    assert client.get("workspace", params={"workspace_id": arrived}).json()["description"] == "to export"
    started = client.post(f"workspace/{arrived}/spark/job/run", {"job_name": "job"}).json()
    assert started["job_name"] == "job"


def test_only_what_is_enabled_is_exported_when_asked_so(client, workspace):
    assert [one["name"] for one in export(client, workspace, enable="true").json()["jobs"]] == ["job"]
    assert [one["name"] for one in export(client, workspace, enable="false").json()["jobs"]] == ["off"]


def test_everything_is_bound_to_the_cluster_that_the_import_names(client, workspace, request):
    query = {"workspace_name": f"to {request.node.name}", "cluster_name": "larger-cluster"}
    arrived = client.post("workspace/import", export(client, workspace).json(), params=query).json()
    assert {one["cluster_id"] for one in definitions(client, arrived["workspace_id"])} == {31}
    unknown = {"workspace_id": workspace, "cluster_id": 999_999, "overwrite": "true"}
    assert (
        client.post("workspace/import", export(client, workspace).json(), params=unknown).status_code == 404
    )


def test_what_is_there_already_is_replaced_only_with_overwrite(client, workspace):
    content, query = export(client, workspace).json(), {"workspace_id": workspace}
    before = [one["job_id"] for one in content["jobs"]]
    content["jobs"][0]["max_concurrency"] = 4
    assert client.post("workspace/import", content, params=query).status_code == 409
    assert export(client, workspace).json()["jobs"][0]["max_concurrency"] == 3
    assert client.post("workspace/import", content, params={**query, "overwrite": "true"}).status_code == 201
    after = export(client, workspace).json()["jobs"]
    assert after[0]["max_concurrency"] == 4
    assert [one["job_id"] for one in after] == before


def test_an_import_with_an_error_does_all_or_nothing_unless_it_is_permissive(client, request):
    good, nameless = {"name": "good", "job_command": "true"}, {"job_command": "true"}
    content = {"workspace": {"name": request.node.name}, "jobs": [good, nameless, {"name": []}, good]}
    assert client.post("workspace/import", content).status_code == 400
    assert client.get("workspace", params={"workspace_name": request.node.name}).status_code == 404
    imported = client.post("workspace/import", content, params={"permissive": "true"}).json()
    assert imported["jobs"] == ["good"]
    assert len(imported["errors"]) == 3
    assert len(definitions(client, imported["workspace_id"])) == 1


@pytest.mark.parametrize("kind", ["job", "notebook"])
def test_a_single_job_or_notebook_can_be_imported(client, workspace, request, kind):
    path = {"job": "spark/job", "notebook": "notebook"}[kind]
    exported = client.get(f"workspace/{workspace}/{path}/export", params={f"{kind}_name": kind})
    assert exported.headers["content-disposition"] == f'attachment; filename="{kind}.yeedu"'
    query = {"workspace_name": f"to {request.node.name}"}
    imported = client.post("workspace/import", exported.json(), params=query).json()
    assert imported[f"{kind}s"] == [kind]
    (arrived,) = definitions(client, imported["workspace_id"])
    assert arrived in definitions(client, workspace)


@pytest.mark.parametrize("body", [[], "text", {"jobs": {}}, {"jobs": [1]}, {"workspace": {"name": 1}}, {}])
def test_what_is_no_export_is_refused(client, body):
    assert client.post("workspace/import", body).status_code == 400


def test_an_import_into_a_workspace_that_is_not_there_is_refused(client):
    assert client.post("workspace/import", {}, params={"workspace_id": 999_999}).status_code == 404
