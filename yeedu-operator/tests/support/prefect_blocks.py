"""The blocks that the platform's users have, and the logs of their flow runs."""

import json
import time
from typing import Any
from uuid import UUID

from mock_yeedu import MockYeedu
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.states import State

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduCredentials


def save_blocks(mock: MockYeedu) -> None:
    """Save the blocks of the published guide, and some that are wrong."""
    details = {"username": "demo", "YEEDU_VERIFY_SSL": "true", "YEEDU_SSL_CERT_FILE": ""}
    Secret(value=details).save("yeedu-connection-details", overwrite=True)
    Secret(value=json.dumps(details)).save("details-as-text", overwrite=True)
    Secret(value=mock.password).save("yeedu-password", overwrite=True)
    Secret(value="wrong").save("wrong-password", overwrite=True)
    Secret(value={"no": "text"}).save("not-a-password", overwrite=True)


def credentials(mock: MockYeedu) -> YeeduCredentials:
    """Return a block of the mock's user."""
    return YeeduCredentials(username="demo", password=mock.password)  # pyright: ignore[reportArgumentType]


def operator(mock: MockYeedu, job: int, **options: Any) -> YeeduOperator:
    """Return the published guide's operator for a job, with its blocks."""
    return YeeduOperator(mock.url(f"job/{job}"), "yeedu_connection_details", "yeedu_password", **options)


def logs_of(state: State[Any]) -> list[str]:
    """Return a finished flow run's log, once all of it has reached the server."""
    flow_run_id = state.state_details.flow_run_id
    assert isinstance(flow_run_id, UUID)
    log_filter = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            messages = [log.message for log in client.read_logs(log_filter, limit=200)]
            if any(message.startswith("Finished in state") for message in messages):
                return messages
            time.sleep(0.1)
    raise AssertionError(f"The log did not arrive; so far: {messages}")
