"""The page on which rescue says how it is: on loopback, where every program of the machine reaches it."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.abuse.floods import answer, flood
from yeedu_rescue import status_page


@pytest.fixture
def port() -> Iterator[int]:
    said = {"ended_at": time.monotonic(), "trouble": "a name", "failures": ["a name"]}
    reconciler: Any = SimpleNamespace(**said, silent_seconds=0.0, is_working=True)
    with status_page.status_page(reconciler, 0) as port:
        yield port


@pytest.mark.tries("reads rescue's page from a web page whose name leads to this machine")
@pytest.mark.parametrize(
    "host", ["attacker.example", "localhost.attacker.example:8082", "127.0.0.1.attacker.example"]
)
def test_page_answers_under_no_foreign_name(port: int, host: str) -> None:
    refused = requests.get(f"http://127.0.0.1:{port}/", headers={"Host": host}, timeout=60)
    assert refused.status_code == 403
    assert "a name" not in refused.text.replace("not a name of", "")
    assert requests.get(f"http://localhost:{port}/", timeout=60).status_code == 200


@pytest.mark.tries("holds many connections to rescue's page open, or sends it what never ends")
@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /" + b"a" * 1_000_000], ids=["silent", "slow", "long"]
)
def test_connections_cost_few_threads_and_go(
    port: int, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    before = threading.active_count()
    with flood(port, 60, sent) as connections:
        assert threading.active_count() - before <= status_page.MAX_THREADS
        for connection in connections:
            assert answer(connection)[:12] in {b"", b"HTTP/1.1 414", b"HTTP/1.0 414"}
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200
    assert capfd.readouterr().err == ""
