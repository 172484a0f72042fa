"""Clusters, the configurations they are made after, and the workspaces they are given to."""

import pytest


@pytest.fixture
def conf(client, request):
    body = {"name": request.node.name, "machine_type_id": 2, "volume_conf_id": 7}
    answer = client.post("cluster/conf", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("where", ["json", "params"])
def test_clusters_are_started_and_stopped_as_the_request_names_them(client, where):
    made = client.post("cluster", {"name": f"made-{where}", "machine_type": "m5"}).json()
    which = {where: {"cluster_id": made["cluster_id"]}}
    assert client.request("POST", "cluster/stop", **which).json()["cluster_status"] == "STOPPED"
    assert client.request("POST", "cluster/stop", **which).status_code == 409
    assert client.request("POST", "cluster/start", **which).json()["cluster_status"] == "RUNNING"
    read = client.get("cluster", params={"cluster_name": f"made-{where}"}).json()
    assert (read["cluster_id"], read["machine_type"]) == (made["cluster_id"], "m5")


def test_every_run_on_a_cluster_is_stopped(client, until):
    cluster = client.post("cluster", {"name": "busy"}).json()["cluster_id"]
    body = {"name": "on-busy", "cluster_id": cluster, "program": "import time; time.sleep(60)"}
    run = client.run_job(client.post(client.workspace("spark/job"), body).json()["job_id"])
    client.wait("spark/job", run, "RUNNING")
    assert client.post(f"cluster/{cluster}/stop_all_jobs").json()["run_ids"] == [run]
    assert client.wait("spark/job", run) == "STOPPED"
    counts = client.get("cluster/stats", params={"cluster_id": cluster}).json()
    assert (counts["STOPPED"], counts["RUNNING"], counts["TOTAL_JOB_COUNT"]) == (1, 0, 1)


def test_a_configuration_is_read_changed_and_deleted(client, conf):
    query = {"cluster_conf_id": conf["cluster_conf_id"]}
    assert client.get("cluster/conf", params={"cluster_conf_name": conf["name"]}).json() == conf
    assert (conf["volume_conf_id"], conf["machine_type"]["architecture_type"]) == (7, "aarch64")
    assert client.post("cluster/conf", {"name": conf["name"], "machine_type_id": 1}).status_code == 409
    change = {"name": f"{conf['name']} changed", "machine_type_id": 3, "volume_conf_id": None}
    changed = client.request("PUT", "cluster/conf", params=query, json=change).json()
    assert (changed["name"], changed["volume_conf_id"]) == (change["name"], None)
    assert changed["machine_type"]["cloud_provider"] == "Azure"
    assert client.request("DELETE", "cluster/conf", params=query).status_code == 200
    assert client.request("DELETE", "cluster/conf", params=query).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [({"name": "x"}, 400), ({"machine_type_id": 1}, 400), ({"name": "x", "machine_type_id": 99}, 404)],
)
def test_a_configuration_needs_a_name_and_a_machine_type_that_exists(client, body, status):
    assert client.post("cluster/conf", body).status_code == status


def test_configurations_are_searched_by_what_their_machines_are(client, conf):
    named = {"cluster_conf_name": conf["name"].upper()}
    for query, is_found in (
        ({}, True),
        ({"cloud_provider": "AWS", "compute_type": "compute_optimized"}, True),
        ({"cloud_provider": "GCP"}, False),
        ({"architecture_type": "x86_64"}, False),
    ):
        answer = client.get("cluster/confs/search", params=named | query)
        assert answer.status_code == (200 if is_found else 404), query
    assert client.get("cluster/confs", params={"limit": 1}).json()["result_set"]["total_objects"] >= 1


def test_a_cluster_is_found_by_its_configuration_which_stays_while_it_is_there(client, conf):
    made = {"name": "of a conf", "cluster_conf_id": conf["cluster_conf_id"], "cluster_type": "YEEDU"}
    cluster = client.post("cluster", made).json()
    assert client.post("cluster", {"name": "of none", "cluster_conf_id": 999_999}).status_code == 404
    me = client.get("user/info").json()["user_id"]
    for query, is_found in (
        ({"cluster_conf_name": conf["name"], "cluster_types": "YEEDU", "enable": "true"}, True),
        ({"machine_type_ids": [1, 2], "cloud_providers": "AWS", "created_by_ids": me}, True),
        ({"cluster_conf_name": conf["name"], "cluster_types": "STANDALONE"}, False),
        ({"machine_type_ids": 3, "cluster_conf_id": conf["cluster_conf_id"]}, False),
        ({"cluster_conf_name": conf["name"], "modified_by_ids": 999_999}, False),
    ):
        answer = client.get("clusters", params=query)
        assert answer.status_code == (200 if is_found else 404), query
        if is_found:
            assert [one["cluster_id"] for one in answer.json()["data"]] == [cluster["cluster_id"]]
    query = {"cluster_conf_id": conf["cluster_conf_id"]}
    assert client.request("DELETE", "cluster/conf", params=query).status_code == 409
    client.post("cluster/destroy", {"cluster_id": cluster["cluster_id"]})
    assert client.request("DELETE", "cluster/conf", params=query).status_code == 200


def test_a_clusters_states_are_its_history_and_its_log(client):
    cluster = client.post("cluster", {"name": "with a history"}).json()
    which = {"cluster_id": cluster["cluster_id"]}
    client.post("cluster/stop", which)
    states = client.get("cluster/status", params=which).json()["data"]
    assert [one["cluster_status"] for one in states] == ["STOPPED", "RUNNING"]
    nodes = client.get("cluster/node/events", params=which).json()["data"]
    assert [one["node_status"] for one in nodes] == ["STOPPED", "RUNNING"]
    assert client.get("cluster/node/events", params={**which, "node_number": 1}).json()["data"] == []
    log = client.get("cluster/log/stdout", params={**which, "last_n_lines": 1})
    assert log.text.endswith("The cluster with a history is STOPPED.\n")
    assert log.text.count("\n") == 1
    assert log.headers["content-disposition"] == 'attachment; filename="stdout.log"'
    assert client.get("cluster/log/stderr", params=which).text == ""
    assert client.get("cluster/log/other", params=which).status_code == 400


def test_a_workspace_is_given_clusters(client):
    workspace = client.post("workspace", {"name": "for clusters"}).json()["workspace_id"]
    of_workspace, of_cluster = f"ac/workspace/{workspace}/clusters", "ac/cluster/31/workspaces"
    assert client.get(of_workspace).status_code == 404
    link = f"ac/workspace/{workspace}/cluster/31"
    assert client.post(link).status_code == 201
    assert client.post(link).status_code == 409
    assert client.post(f"ac/workspace/{workspace}/cluster/999999").status_code == 404
    assert [one["cluster_id"] for one in client.get(of_workspace).json()["data"]] == [31]
    found = client.get(f"{of_cluster}/search", params={"workspace_name": "for clusters"}).json()["data"]
    assert [one["workspace_id"] for one in found] == [workspace]
    assert 1 in [one["workspace_id"] for one in client.get(of_cluster).json()["data"]]
    assert client.get(f"{of_workspace}/search", params={"cluster_name": "demo"}).status_code == 404
    assert client.request("DELETE", link).status_code == 200
    assert client.request("DELETE", link).status_code == 404
