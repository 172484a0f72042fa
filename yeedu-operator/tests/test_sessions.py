"""One login for each process and connection, however many runs and threads; and none that lasts for ever."""

import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from scripted_yeedu import PASSWORD, TENANT, TOKEN, ScriptedYeedu

from prefect_yeedu.client import session_cache
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.session_cache import close_shared_clients, shared_client
from prefect_yeedu.errors import YeeduError, YeeduServerError
from prefect_yeedu.urls import parse_url

PROGRAM = """
import sys
from prefect_yeedu.client import session_cache
from prefect_yeedu.client.session_cache import shared_client
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.urls import parse_url

for job in (5, 6):
    url = parse_url(sys.argv[1].replace("/job/5", f"/job/{job}"))
    shared_client(Connection.to(url, Credentials("demo", sys.argv[2]))).log_in()
"""


def connection(yeedu: ScriptedYeedu, **credentials: str) -> Connection:
    given = credentials or {"username": "demo", "password": PASSWORD}
    return Connection.to(parse_url(yeedu.url()), Credentials(**given))


def test_a_process_logs_in_once_for_all_jobs_of_a_connection_and_logs_out_at_its_end(
    yeedu: ScriptedYeedu,
) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, yeedu.url(), PASSWORD], check=True)
    assert [call.path for call in yeedu.calls] == [
        "login/auth_type",
        "login",
        f"user/select/{TENANT}",
        "logout",
    ]


def test_other_credentials_are_another_session(yeedu: ScriptedYeedu) -> None:
    try:
        first = shared_client(connection(yeedu))
        assert shared_client(connection(yeedu)) is first
        assert shared_client(connection(yeedu, username="demo", password="another")) is not first
        assert shared_client(connection(yeedu, token=TOKEN)) is not first
    finally:
        close_shared_clients()


def test_threads_that_begin_together_log_in_once(yeedu: ScriptedYeedu) -> None:
    try:
        threads = [threading.Thread(target=shared_client(connection(yeedu)).log_in) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        close_shared_clients()
    assert len(yeedu.called("POST", "login")) == len(yeedu.called("POST", "logout")) == 1


def test_a_session_that_nobody_logs_out_of_ends_by_itself(yeedu: ScriptedYeedu) -> None:
    with yeedu.client() as client:
        client.log_in()
    assert yeedu.called("POST", "login")[0].body["timeout"] == "24h"


def test_a_tenant_that_cannot_be_selected_at_once_costs_no_second_login(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", f"user/select/{TENANT}", (503, {}), (201, {}))
    with yeedu.client() as client:
        client.log_in()
    assert len(yeedu.called("POST", "login")) == len(yeedu.called("POST", "logout")) == 1


def test_a_session_that_expires_before_its_tenant_is_selected_is_replaced(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", "login", (200, {"token": TOKEN}), (200, {"token": "second-token"}))
    yeedu.on("POST", f"user/select/{TENANT}", (503, {}), (503, {}), (503, {}), (401, {}), (201, {}))
    with yeedu.client() as client:
        with pytest.raises(YeeduServerError):
            client.log_in()
        assert client.token() == "second-token"


@pytest.mark.parametrize("path", ["login/auth_type", "login", f"user/select/{TENANT}"])
def test_a_login_that_fails_is_tried_as_often_as_the_call(yeedu: ScriptedYeedu, path: str) -> None:
    method = "GET" if path == "login/auth_type" else "POST"
    yeedu.on(method, path, (503, {}))
    with yeedu.client() as client, pytest.raises(YeeduServerError):
        client.get_object("workspace/1/spark/job/run/9", "about run 9")
    assert len(yeedu.called(method, path)) == 3  # as the test's client is told


@pytest.mark.parametrize("answer", [(404, b"<html>"), (405, {}), (400, {"error_code": "RFA-000400"})])
def test_a_server_without_auth_type_may_say_so_in_any_way(yeedu: ScriptedYeedu, answer: Any) -> None:
    yeedu.on("GET", "login/auth_type", answer)
    with yeedu.client() as client:
        assert client.token() == TOKEN
    assert yeedu.called("POST", "login")[0].body == {"username": "demo", "password": PASSWORD}
    assert yeedu.called("POST", "logout")  # an old server may not have the call, but its sessions last


class CountingLock:
    """A lock that knows how many threads have asked for it."""

    def __init__(self) -> None:
        self.asked = 0
        self._counting, self._lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._counting:
            self.asked += 1
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_threads_that_wait_for_a_login_share_its_failure(yeedu: ScriptedYeedu) -> None:
    lock = CountingLock()

    def fail(call: Any) -> Any:
        while lock.asked < 6:
            time.sleep(0.01)
        return 403, {"error_code": "RFA-000403", "error_message": "no"}

    yeedu.on("POST", "login", fail)
    failures: list[YeeduError] = []

    def log_in() -> None:
        try:
            client.log_in()
        except YeeduError as error:
            failures.append(error)

    with yeedu.client() as client:
        client._session._lock = lock  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        threads = [threading.Thread(target=log_in) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(failures) == 6
    assert len(yeedu.called("POST", "login")) == 1


def test_a_forked_child_has_a_lock_of_its_own() -> None:
    with session_cache._sharing:
        child = os.fork()
        if child == 0:
            os._exit(int(not session_cache._sharing.acquire(timeout=5)))
        assert os.waitpid(child, 0)[1] == 0
