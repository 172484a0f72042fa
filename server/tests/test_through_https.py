"""Prefect's own clients reach the server through the proxy's https, by requests and by websockets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.tests.running import running
from server.tests.conftest import AUTH_STRING
from tests.prefect_process import PrefectProcess

LAUNCHER = Path(__file__).parents[1] / "with_secrets.py"
# What goes through the websocket is asked for by requests, until it has come.
PROGRAM = """
import asyncio, uuid
from prefect import get_client
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient, get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

NAME = f"through.https.{uuid.uuid4()}"

async def main():
    async with get_client() as client:
        print("version", await client.api_version())
    async with get_events_subscriber(filter=EventFilter(event=EventNameFilter(name=[NAME]))) as subscriber:
        async with PrefectEventsClient(reconnection_attempts=0) as events:
            await events.emit(Event(event=NAME, resource={"prefect.resource.id": "a.b"}))
        async for event in subscriber:
            print("came", event.event == NAME)
            break

asyncio.run(asyncio.wait_for(main(), 90))
"""


@pytest.mark.caddy
def test_clients_of_prefect_pass_by_the_ca_of_the_platforms_own(
    closed_server: PrefectProcess, tmp_path: Path
) -> None:
    proxy = running(
        tmp_path,
        PROXY_UPSTREAM=f"127.0.0.1:{closed_server.port}",
        TLS_MODE="internal",
        PREFECT_UI_URL="https://localhost",
    )
    with proxy:
        root = tmp_path / "root.pem"
        root.write_text(proxy.root(), encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "PREFECT_HOME": str(tmp_path / "home"),
            "PREFECT_API_URL": f"https://localhost:{proxy.tls_port}/api",
            "PREFECT_API_AUTH_STRING": AUTH_STRING,
            "CA_CERT_FILE": str(root),
            "DO_NOT_TRACK": "1",
        }
        command = [sys.executable, str(LAUNCHER), sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["version", "came"]
    assert done.stdout.endswith("came True\n")
