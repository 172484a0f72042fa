"""The flow of docs/flows.md that tells Slack, with a receiver in Slack's place."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.flows import load_flow_from_entrypoint

from tests.tls_server import self_signed, tls_proxy

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise
PAGE = (Path(__file__).parents[2] / "docs" / "flows.md").read_text(encoding="utf-8")
SLACK = "hooks.slack.com"
ADDRESS = "/services/T00000000/B00000000/canaryOfTheSlackToken000"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.received.append((self.headers["Host"], self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


@pytest.fixture
def slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, Any]]]:
    """What Slack was sent: its name leads to this machine, whose certificate is trusted here."""
    certificate = self_signed(tmp_path, host_name=SLACK)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    look_up = socket.getaddrinfo
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.received = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with tls_proxy(certificate, server.server_port) as port:

            def here(host: Any, service: Any, *more: Any, **options: Any) -> Any:
                if host == SLACK:
                    host, service = "127.0.0.1", port
                return look_up(host, service, *more, **options)

            monkeypatch.setattr(socket, "getaddrinfo", here)
            yield server.received  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_the_snippet_of_the_page_reaches_slack_through_the_alerts_block(
    prefect_server: str, slack: list[tuple[str, str, Any]], tmp_path: Path
) -> None:
    (code,) = [found for found in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "alerts-slack" in found]
    (tmp_path / "tell_slack.py").write_text(code, encoding="utf-8")
    SlackWebhook.model_validate({"url": f"https://{SLACK}{ADDRESS}"}).save("alerts-slack", overwrite=True)
    flow: Any = load_flow_from_entrypoint(f"{tmp_path / 'tell_slack.py'}:tell_slack")
    state = flow("Loaded: 412 payments", return_state=True)
    assert state.is_completed(), state.message
    [(host, path, message)] = slack
    assert (host, path) == (SLACK, ADDRESS)
    assert "Loaded: 412 payments" in json.dumps(message)
    assert "Parking" in json.dumps(message)
