"""A client that remembers the address it was made for, as most tests have only one."""

from typing import Any

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.runs import execution
from prefect_yeedu.runs.record import Ledger
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.urls import parse_url


class AddressedClient(YeeduClient):
    def __init__(
        self,
        address: str,
        credentials: Credentials | None = None,
        *,
        tls: TLSSettings | None = None,
        **options: Any,
    ) -> None:
        self.url = parse_url(address)
        super().__init__(Connection.to(self.url, credentials, tls), **options)

    def api(self, kind: RunKind = RunKind.JOB, generation: Generation = Generation.V2) -> RunAPI:
        return RunAPI(self, self.url.workspace_id, kind, generation, self.clock)


def execute(
    client: AddressedClient,
    request: RunRequest | None = None,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
) -> YeeduResult:
    """Run what the client's address points at."""
    return execution.execute(client, client.url.target, request or RunRequest(), listener, ledger)


def find_api(client: AddressedClient, request: RunRequest | None = None) -> RunAPI:
    return execution.find_api(client, client.url.target, request or RunRequest())
