"""Events reach the server in their order, and one that it refuses holds up no other."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from own_process import run_python

EMIT = """
import json, sys
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from yeedu_worker.patches.events import send_events_by_request

assert send_events_by_request()
for name in json.loads(sys.argv[1]):
    emit_event(name, {"prefect.resource.id": "any"})
EventsWorker.instance().drain()
print("null")
"""


class Requests(list[list[str]]):
    """The names of the events of each request that a server took; it takes none with the name `refused`."""

    url = ""


@pytest.fixture
def requests() -> Iterator[Requests]:
    taken = Requests()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/events"
            names = [one["event"] for one in json.loads(self.rfile.read(int(self.headers["Content-Length"])))]
            self.send_response(422 if "refused" in names else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if "refused" not in names:
                taken.append(names)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        taken.url = f"http://127.0.0.1:{server.server_port}/api"
        yield taken
        server.shutdown()


def emit(requests: Requests, names: list[str], home: Path) -> None:
    variables = {"PREFECT_API_URL": requests.url, "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
    run_python(EMIT, home, json.dumps(names), **variables)


def test_events_of_a_moment_share_a_request(requests: Requests, tmp_path: Path) -> None:
    names = [f"number-{number}" for number in range(500)]
    emit(requests, names, tmp_path)
    assert [name for request in requests for name in request] == names
    assert len(requests) < 100


def test_refused_event_holds_up_no_other(requests: Requests, tmp_path: Path) -> None:
    emit(requests, ["one", "refused", "two"], tmp_path)
    assert [name for request in requests for name in request] == ["one", "two"]
