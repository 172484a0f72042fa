"""Users, their tenants and tokens, and a tenant's workspaces."""

import re

import pytest
import requests

from yeedu_mock.settings import Settings
from yeedu_mock.state.seeds import OTHER_TENANT, OTHER_WORKSPACE_ID
from yeedu_mock.testing import running_mock


def test_a_tenant_sees_nothing_of_another(anonymous, yeedu_mock):
    anonymous.log_in("demo", yeedu_mock.settings.password)
    anonymous.post(f"user/select/{OTHER_TENANT}")
    assert anonymous.get("workspace/1/spark/job", params={"job_id": 101}).status_code == 404
    assert anonymous.get("workspace", params={"workspace_id": 1}).status_code == 404
    assert anonymous.get("cluster", params={"cluster_id": 30}).status_code == 404
    assert [space["workspace_id"] for space in anonymous.get("workspaces").json()["data"]] == [
        OTHER_WORKSPACE_ID
    ]


def test_a_user_selects_only_tenants_they_belong_to(anonymous, yeedu_mock):
    user = {"username": "guest", "password": "guest-password", "tenants": [OTHER_TENANT]}
    assert requests.post(f"{yeedu_mock.url}/_control/users", json=user, timeout=90).status_code == 201
    assert requests.post(f"{yeedu_mock.url}/_control/users", json=user, timeout=90).status_code == 409
    anonymous.log_in("guest", "guest-password")
    assert anonymous.post(f"user/select/{yeedu_mock.tenant}").status_code == 403
    assert anonymous.post(f"user/select/{OTHER_TENANT}").status_code == 201
    assert [tenant["tenant_id"] for tenant in anonymous.get("user/tenants").json()["data"]] == [OTHER_TENANT]
    assert anonymous.get("user/tenants/search", params={"tenant_name": "demo"}).status_code == 404


def test_a_personal_token_logs_in_until_it_is_deleted(client, yeedu_mock):
    made = client.post("user/token", {"description": "for a test", "timeout": "1h"}).json()
    listed = client.get("user/tokens").json()["data"]
    assert made["token"] not in str(listed)
    assert made["token_id"] in [known["token_id"] for known in listed]
    session, client.token = client.token, made["token"]
    assert client.get("user/info").json()["username"] == "demo"
    client.token = session
    assert client.request("DELETE", f"user/token/{made['token_id']}").status_code == 200
    assert client.request("DELETE", f"user/token/{made['token_id']}").status_code == 404
    client.token = made["token"]
    assert client.get("user/info").status_code == 401


@pytest.mark.parametrize("body", [{"timeout": "never"}, {"description": 5}])
def test_wrong_token_request_is_refused(client, body):
    assert client.post("user/token", body).status_code == 400


def test_workspaces_are_created_changed_and_counted(client):
    made = client.post("workspace", {"name": "made", "description": "first"}).json()
    query = {"workspace_id": made["workspace_id"]}
    assert client.post("workspace", {"name": "made"}).status_code == 409
    changed = client.request("PUT", "workspace", params=query, json={"description": "second"}).json()
    assert (changed["name"], changed["description"]) == ("made", "second")
    assert client.request("PUT", "workspace/disable", params=query).json()["enable"] is False
    search = client.get("workspaces/search", params={"workspace_name": "MADE", "enable": "false"})
    assert [space["workspace_id"] for space in search.json()["data"]] == [made["workspace_id"]]
    body = {"notebook_name": "in-made", "notebook_type": "Python3"}
    assert client.post(f"workspace/{made['workspace_id']}/notebook", body).status_code == 200
    assert client.get("workspace/stats", params=query).json()["notebook_count"] == 1


def test_states_of_runs_are_listed(client):
    states = [one["name"] for one in client.get("lookup_spark_job_status").json()]
    assert "TERMINATED" in states
    assert "KILLED" not in states


def test_single_sign_on_answers_a_page_whose_token_can_be_pasted(tmp_path):
    settings = Settings(
        port=0, state_directory=tmp_path, spare_kernels=0, auth_type="AZURE_SSO", password="pass-word"
    )
    with running_mock(settings) as mock:
        assert requests.get(f"{mock.url}/api/v1/login/auth_type", timeout=90).json() == {
            "auth_type": "AZURE_SSO"
        }
        answer = requests.post(f"{mock.url}/api/v1/login", json={"auth_type": "AZURE_SSO"}, timeout=90).json()
        assert set(answer) == {"loginURL"}
        assert "<form" in requests.get(answer["loginURL"], timeout=90).text
        wrong = requests.post(answer["loginURL"], data={"username": "demo", "password": "x"}, timeout=90)
        assert wrong.status_code == 401
        right = requests.post(
            answer["loginURL"], data={"username": "demo", "password": "pass-word"}, timeout=90
        )
        token = re.search(r"<pre>(\S+)</pre>", right.text)
        assert token
        headers = {"Authorization": f"Bearer {token[1]}"}
        assert requests.get(f"{mock.url}/api/v1/user/info", headers=headers, timeout=90).status_code == 200
