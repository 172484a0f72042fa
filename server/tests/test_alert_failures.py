"""An alert that cannot be delivered is tried again, and its failure does not tell the address."""

import asyncio
import http.server
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import alert_failures
import pytest
from patches import keep_addresses_out_of_failures
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.server.events.actions import ActionFailed, SendNotification

SECRET = "an-address-that-is-a-secret"


class Webhook:
    """A place that alerts are posted to; it answers with each of the statuses once."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(webhook.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def posts() -> Iterator[list[Webhook]]:
    made: list[Webhook] = []
    yield made
    for webhook in made:
        webhook.close()


def deliver(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Send one notification as the server does, with the block that the deployer makes."""
    monkeypatch.setattr(SendNotification, "act", SendNotification.act)
    monkeypatch.setattr(alert_failures, "_PAUSES_SECONDS", (0.01, 0.01))
    assert keep_addresses_out_of_failures()
    block = CustomWebhookNotificationBlock.model_validate(
        {
            "name": "alerts",
            "url": "{{address}}",
            "json_data": {"text": "{{body}}"},
            "secrets": {"address": address},
        }
    )

    async def found(*_: Any, **__: Any) -> Any:
        return block

    async def rendered(*_: Any) -> list[str]:
        return ["subject", "body"]

    monkeypatch.setattr(SendNotification, "_get_notification_block", found)
    monkeypatch.setattr(SendNotification, "render", rendered)
    action: Any = SendNotification(block_document_id=uuid.uuid4(), subject="subject", body="body")
    asyncio.run(action.act(None))


@pytest.mark.parametrize("statuses", [[200], [503, 204], [500, 502, 200]])
def test_alert_is_delivered_in_the_end(
    monkeypatch: pytest.MonkeyPatch, posts: list[Webhook], statuses: list[int]
) -> None:
    posts.append(webhook := Webhook(*statuses))
    deliver(monkeypatch, webhook.address)
    assert webhook.statuses == []


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ([404, 200], "its target answered with status 404"),
        ([503, 503, 502, 200], "its target answered with status 502"),
    ],
)
def test_failure_says_what_the_place_answered_and_not_where_it_is(
    monkeypatch: pytest.MonkeyPatch, posts: list[Webhook], statuses: list[int], reason: str
) -> None:
    posts.append(webhook := Webhook(*statuses))
    with pytest.raises(ActionFailed) as failure:
        deliver(monkeypatch, webhook.address)
    assert failure.value.reason == f"The notification was not delivered: {reason}."
    assert failure.value.__context__ is None
    assert webhook.statuses == [200], "what will not pass is not tried again, and nothing more than twice"


def test_place_that_nobody_serves_is_said_to_be_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, posts: list[Webhook]
) -> None:
    webhook = Webhook()
    webhook.close()
    with pytest.raises(ActionFailed) as failure:
        deliver(monkeypatch, webhook.address)
    reason = "its target cannot be reached (ConnectError)"
    assert failure.value.reason == f"The notification was not delivered: {reason}."
