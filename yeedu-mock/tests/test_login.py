import pytest
import requests

from yeedu_mock.control.switches import Switches
from yeedu_mock.errors import NotLoggedInError
from yeedu_mock.state.passwords import PasswordCheck, hash_password
from yeedu_mock.state.records import Session, User
from yeedu_mock.state.sessions import Sessions
from yeedu_mock.state.store import Store


def test_health_check_needs_no_token_with_and_without_the_prefix(yeedu_mock):
    for path in ("/healthCheck", "/api/v1/healthCheck"):
        answer = requests.get(yeedu_mock.url + path, timeout=90)
        assert answer.status_code == 200
        assert answer.json()["uptime"] > 0


def test_login_answers_a_token_in_the_form_of_a_jwt(anonymous, yeedu_mock):
    body = {"username": "demo", "password": yeedu_mock.settings.password, "auth_type": "LDAP"}
    answer = anonymous.post("login", body | {"timeout": "infinity"})
    assert answer.status_code == 200
    assert answer.json()["token"].count(".") == 2


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"password": "wrong"}, 401),
        ({"username": "nobody"}, 401),
        ({"auth_type": "AAD"}, 400),
        ({"timeout": "soon"}, 400),
        ({"timeout": "99999999 days"}, 400),
        ({"username": None}, 400),
    ],
)
def test_wrong_login_is_refused_with_an_error_body(anonymous, yeedu_mock, changes, status):
    answer = anonymous.post("login", {"username": "demo", "password": yeedu_mock.settings.password} | changes)
    assert answer.status_code == status
    assert set(answer.json()) == {"error_code", "error_message", "message"}
    assert str(yeedu_mock.settings.password) not in answer.text


@pytest.mark.parametrize(("token", "text"), [("", "Auth Token not found"), ("bad", "session has expired")])
def test_request_without_a_living_session_is_401(anonymous, token, text):
    anonymous.token = token
    answer = anonymous.get("user/info")
    assert answer.status_code == 401
    assert text in answer.json()["error_message"]


def test_workspace_routes_are_closed_until_a_tenant_is_selected(anonymous, yeedu_mock):
    anonymous.log_in("demo", yeedu_mock.settings.password)
    assert anonymous.get("workspace/1/spark/job?job_id=101").status_code == 403
    assert anonymous.post(f"user/select/{yeedu_mock.tenant}").status_code == 201
    assert anonymous.get("workspace/1/spark/job?job_id=101").status_code == 200
    assert anonymous.get("user/info").json()["tenant_id"] == yeedu_mock.tenant


def test_selecting_a_tenant_twice_is_a_conflict_with_the_text_clients_look_for(client, yeedu_mock):
    answer = client.post(f"user/select/{yeedu_mock.tenant}")
    assert answer.status_code == 409
    assert f"Association to the tenant Id: {yeedu_mock.tenant}" in answer.text
    assert "is not allowed for the current session." in answer.text


def test_unknown_tenant_is_not_found(anonymous, yeedu_mock):
    anonymous.log_in("demo", yeedu_mock.settings.password)
    assert anonymous.post("user/select/00000000-0000-0000-0000-000000000000").status_code == 404


def test_logout_ends_the_session(client):
    assert client.post("logout").status_code == 200
    assert client.get("user/info").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing/here", 404),
        ("DELETE", "login", 405),
        ("GET", "workspace/99999999999999999999/x", 404),
    ],
)
def test_unknown_routes_answer_json(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error_code"].startswith("RFA-")


def test_sessions_that_are_over_and_too_many_logins_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("yeedu_mock.state.sessions.MAX_LOGINS", 3)
    store = Store(tmp_path / "state.db")
    sessions = Sessions(store, Switches())
    user = store.add(User(username="demo", password_hash=""))
    _, personal = sessions.open(user, None, description="mine")
    sessions.open(user, -1)
    tokens = [sessions.open(user, None)[1] for _ in range(4)]
    with pytest.raises(NotLoggedInError):
        sessions.find(tokens[0])
    assert all(sessions.find(token) for token in [personal, *tokens[1:]])
    assert len(store.all(Session)) == 4
    store.close()


def test_a_password_is_known_again_and_another_one_is_not():
    passwords = PasswordCheck()
    known_hash = hash_password("right")
    for password in ("wrong", "right", "right", "wrong", ""):
        assert passwords.is_password(password, known_hash) is (password == "right")
    assert not passwords.is_password("right", hash_password("changed"))
