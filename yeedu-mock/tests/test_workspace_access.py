"""Who may do what in a workspace: permissions are listed, given, taken away, and hold."""

from __future__ import annotations

import pytest
import requests

VIEW, RUN, EDIT, MANAGE = 1, 2, 3, 4


@pytest.fixture
def guest(request, client, yeedu_mock):
    """A user of the tenant who administers nothing, as a client of their own."""
    body = {"username": f"guest of {request.node.name}", "password": "guest-password"}
    made = requests.post(
        f"{yeedu_mock.url}/_control/users", json=body | {"tenants": [yeedu_mock.tenant]}, timeout=90
    )
    with requests.Session() as session:
        guest = type(client)(client.url, session=session)
        guest.log_in(body["username"], body["password"])
        assert guest.post(f"user/select/{yeedu_mock.tenant}").status_code == 201
        guest.user_id, guest.username = made.json()["user_id"], body["username"]
        yield guest


@pytest.fixture
def workspace(client, request):
    """The id of a workspace that the administrator has made, with a job in it."""
    made = client.post("workspace", {"name": request.node.name}).json()["workspace_id"]
    body = {"name": "job", "job_command": "true"}
    assert client.post(f"workspace/{made}/spark/job", body).status_code == 200
    return made


def test_permissions_are_listed_from_the_least_to_the_greatest(client):
    listed = client.get("workspace/permissions").json()
    assert [(one["permission_id"], one["permission"]) for one in listed] == [
        (VIEW, "VIEW"),
        (RUN, "RUN"),
        (EDIT, "EDIT"),
        (MANAGE, "MANAGE"),
    ]
    assert client.get("workspace/permission/3").json() == listed[2]
    assert client.get("workspace/permission/5").status_code == 404


def test_samples_are_open_to_everyone_of_the_tenant(guest):
    assert guest.get("workspace/1/spark/job", params={"job_id": 101}).status_code == 200


def test_a_made_workspace_is_its_makers_and_nobody_elses(client, guest, workspace):
    named = {"workspace_id": workspace}
    answer = guest.get("workspace", params=named)
    assert answer.status_code == 403
    assert guest.username in answer.json()["error_message"]
    assert guest.get(f"workspace/{workspace}/spark/jobs").status_code == 403
    assert guest.get("workspace/files", params=named).status_code == 403
    assert workspace not in [one["workspace_id"] for one in guest.get("workspaces").json()["data"]]
    own = guest.post("workspace", {"name": f"{guest.username}'s"}).json()["workspace_id"]
    assert guest.request("PUT", "workspace/disable", params={"workspace_id": own}).status_code == 200
    assert client.get("workspace", params={"workspace_id": own}).status_code == 200, "an administrator may"


@pytest.mark.parametrize("permission", [VIEW, RUN, EDIT, MANAGE])
def test_each_permission_allows_what_it_says_and_no_more(client, guest, workspace, permission):
    given = client.post(
        f"ac/workspace/{workspace}/user", {"user_id": guest.user_id, "permission_id": permission}
    )
    assert given.status_code == 201
    named = {"workspace_id": workspace}
    jobs = f"workspace/{workspace}/spark/job"
    requests_by_need = [
        (VIEW, guest.get(f"{jobs}s")),
        (VIEW, guest.get("workspace/export", params=named)),
        (RUN, guest.post(f"{jobs}/run", {"job_name": "job"})),
        (RUN, guest.post(jobs, {"job_conf_name": "job"})),
        (EDIT, guest.post(jobs, {"name": "another", "job_command": "true"})),
        (EDIT, guest.request("PUT", jobs, params={"job_name": "job"}, json={"max_concurrency": 2})),
        (EDIT, guest.post("workspace/files", params={**named, "path": "/a", "is_dir": "true"})),
        (EDIT, guest.post("workspace/import", {"workspace": {}}, params=named)),
        (MANAGE, guest.request("PUT", "workspace", params=named, json={"description": "mine"})),
        (MANAGE, guest.post(f"ac/workspace/{workspace}/cluster/30")),
        (
            MANAGE,
            guest.post(f"ac/workspace/{workspace}/user", {"user_id": guest.user_id, "permission_id": 1}),
        ),
    ]
    for needed, answer in requests_by_need:
        is_refused = answer.status_code == 403
        assert is_refused == (permission < needed), f"{answer.request.method} {answer.url}: {answer.text}"


def test_a_permission_is_given_once_and_can_be_taken_away(client, guest, workspace):
    body = {"user_id": guest.user_id, "permission_id": VIEW}
    users = f"ac/workspace/{workspace}/user"
    assert client.get(f"{users}/{guest.user_id}/permission").status_code == 404
    given = client.post(users, body).json()
    assert (given["username"], given["permission"]) == (guest.username, "VIEW")
    assert client.post(users, body).status_code == 409
    assert client.post(users, body | {"permission_id": 9}).status_code == 404
    assert client.post(users, body | {"user_id": 999_999}).status_code == 404
    assert client.post(users, {"permission_id": VIEW}).status_code == 400
    shown = client.get(f"{users}/{guest.user_id}/permission").json()
    assert [one["permission_id"] for one in shown["permissions"]] == [VIEW]
    assert guest.get("workspace", params={"workspace_id": workspace}).status_code == 200
    taken = f"{users}/{guest.user_id}/permission/{VIEW}"
    assert client.request("DELETE", taken).status_code == 200
    assert client.request("DELETE", taken).status_code == 404
    assert guest.get("workspace", params={"workspace_id": workspace}).status_code == 403


def test_a_group_gives_its_members_access(client, guest, workspace, yeedu_mock):
    body = {"groupname": f"group of {guest.username}", "usernames": [guest.username]}
    control = f"{yeedu_mock.url}/_control/groups"
    group = requests.post(control, json=body, timeout=90).json()["group_id"]
    assert requests.post(control, json=body, timeout=90).status_code == 409
    assert requests.post(control, json=body | {"usernames": ["nobody"]}, timeout=90).status_code == 404
    access = f"ac/workspace/{workspace}/group"
    assert client.post(access, {"group_id": group, "permission_id": RUN}).status_code == 201
    run = guest.post(f"workspace/{workspace}/spark/job/run", {"job_name": "job"})
    assert run.status_code == 200, run.text
    listed = client.get(f"ac/workspace/{workspace}/groups/permission").json()["data"]
    assert [(one["groupname"], one["permission"]) for one in listed] == [(body["groupname"], "RUN")]
    assert client.get(f"ac/workspace/{workspace}/group/{group}/permission").status_code == 200
    members = client.get("platform/shared/admin/users", params={"group_id": group}).json()["data"]
    assert [one["username"] for one in members] == [guest.username]
    groups = client.get("platform/shared/admin/groups", params={"user_id": guest.user_id}).json()["data"]
    assert [one["group_id"] for one in groups] == [group]


def test_people_are_found_by_name(client, guest, workspace):
    people = f"ac/workspace/{workspace}"
    for search, match in (
        (f"{people}/users/search", f"{people}/user/match"),
        ("platform/shared/admin/search/users", "platform/shared/admin/match/user"),
    ):
        found = client.get(search, params={"username": guest.username[:-3].upper()}).json()["data"]
        assert guest.user_id in [one["user_id"] for one in found]
        assert client.get(search, params={"username": "no such user"}).status_code == 404
        assert client.get(f"{match}/{guest.username}").json()["user_id"] == guest.user_id
        assert client.get(f"{match}/{guest.username[:-3]}").status_code == 404
    given = client.get(f"{people}/users/permission", params={"permission_id": MANAGE}).json()["data"]
    assert [one["username"] for one in given] == ["demo"]
    search = f"{people}/users/permission/search"
    assert client.get(search, params={"username": "dem"}).json()["data"] == given
    assert client.get(search, params={"username": guest.username}).status_code == 404


def test_only_administrators_look_the_whole_tenant_up(guest):
    assert guest.get("platform/shared/admin/users").status_code == 403
    roles = guest.get("user/info/roles").json()["data"]
    assert [role["role_name"] for role in roles[0]["roles"]] == ["User"]
    assert guest.get("user/info/roles", params={"tenant_id": "another"}).status_code == 404


def test_a_workspace_whose_last_permission_is_taken_away_stays_closed(client, guest, workspace):
    users = f"ac/workspace/{workspace}/user"
    assert guest.get("workspace", params={"workspace_id": workspace}).status_code == 403
    for one in client.get(f"ac/workspace/{workspace}/users/permission").json()["data"]:
        taken = f"{users}/{one['user_id']}/permission/{one['permission_id']}"
        assert client.request("DELETE", taken).status_code == 200
    assert client.get(f"ac/workspace/{workspace}/users/permission").json()["data"] == []
    assert guest.get("workspace", params={"workspace_id": workspace}).status_code == 403
    renamed = guest.request("PUT", "workspace", params={"workspace_id": workspace}, json={"name": "mine"})
    assert renamed.status_code == 403
