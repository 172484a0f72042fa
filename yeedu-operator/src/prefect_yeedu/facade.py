"""`YeeduOperator`: one address and the names of blocks become a finished run."""

from __future__ import annotations

import asyncio
import contextvars
import os
from typing import TYPE_CHECKING

from prefect.context import FlowRunContext, TaskRunContext

from prefect_yeedu.client import YeeduClient
from prefect_yeedu.connection import Connection, load_connection
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.execution import RunRequest, checked_conf, execute
from prefect_yeedu.models import Generation, YeeduResult
from prefect_yeedu.remote_run import WaitOptions
from prefect_yeedu.run_logging import RunLogListener, find_logger
from prefect_yeedu.run_record import ArtifactLedger
from prefect_yeedu.urls import TargetKind, parse_url

if TYPE_CHECKING:
    from collections.abc import Sequence


class YeeduOperator:
    """Runs a Yeedu job or notebook, or checks Yeedu's health, from inside a flow or task.

    The first four parameters are those of the operator that Yeedu publishes for Prefect 2.

    Args:
        job_url: Address of a job, notebook, job run or health check, with the port of Yeedu's REST API.
        connection_block_name: Secret block or Variable that holds the connection details as JSON: `username`,
            `YEEDU_VERIFY_SSL` (default true), `YEEDU_SSL_CERT_FILE`. Not needed for a health check.
        login_password_block_name: Secret block that holds the password; not needed with a token.
        token_block_name: Secret block that holds a token, which then is used instead of the password.
        arguments: Given to the program as one text; None leaves the definition's own.
        conf: Spark settings, each `key=value`; the last one of a key counts.
        timeout_seconds: Budget of the run, after which the remote run is stopped; None waits for ever.
        generation: The server's API generation (`v1`, `v1b`, `v2`), where it is not to be found out.
        ui_url: Base of the links that are logged; default: `YEEDU_UI_URL`, else derived from `job_url`.

    Raises:
        YeeduConfigurationError: The address or another argument cannot be used.

    Example:
        ```python
        from operators.yeedu import YeeduOperator
        from prefect import flow

        @flow
        def nightly():
            return YeeduOperator(
                job_url="https://yeedu.example:8080/tenant/TENANT/workspace/1/spark/job/5",
                connection_block_name="yeedu_connection_details",
                login_password_block_name="yeedu_password",
            ).execute()
        ```
    """

    def __init__(
        self,
        job_url: str,
        connection_block_name: str | None = None,
        login_password_block_name: str | None = None,
        token_block_name: str | None = None,
        *,
        arguments: str | None = None,
        conf: Sequence[str] = (),
        timeout_seconds: float | None = None,
        generation: str | None = None,
        ui_url: str | None = None,
    ) -> None:
        self.url = parse_url(job_url)
        self.connection_block_name = connection_block_name
        self.login_password_block_name = login_password_block_name
        self.token_block_name = token_block_name
        self.request = RunRequest(
            arguments=arguments,
            conf=checked_conf(conf),
            generation=_generation(generation),
            ui_url=ui_url or os.environ.get("YEEDU_UI_URL") or None,
            options=WaitOptions(timeout_seconds=_budget(timeout_seconds)),
        )
        # The run's context, for an object that a flow makes and a thread of its own executes.
        self._context = contextvars.copy_context()

    def execute(self) -> YeeduResult:
        """Run it, wait for its end, and return what came of it.

        Raises:
            YeeduError: It did not succeed; the class says why, the text what to do.
        """
        if FlowRunContext.get() is None and TaskRunContext.get() is None:
            # A copy: a context can be entered only once at a time, and several threads may execute this.
            return self._context.copy().run(self._execute)
        return self._execute()

    def _execute(self) -> YeeduResult:
        logger = find_logger()
        connection = self._load_connection()
        ledger = ArtifactLedger.of_this_call(self._fingerprint(), f"Yeedu {self.url.kind} {self.url.id}")
        with YeeduClient(self.url, connection.credentials, tls=connection.tls) as client:
            result = execute(client, self.request, RunLogListener(logger), ledger)
        if result.kind == TargetKind.HEALTH:
            logger.info("Yeedu at %s is healthy.", self.url.origin)
        return result

    def _fingerprint(self) -> str:
        """Return what makes two calls the same one, apart from where they are made."""
        url = self.url
        return repr(
            (
                url.origin,
                url.tenant,
                url.workspace_id,
                url.kind,
                url.id,
                self.request.arguments,
                self.request.conf,
            )
        )

    async def aexecute(self) -> YeeduResult:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.execute)

    def _load_connection(self) -> Connection:
        if self.url.kind is not TargetKind.HEALTH:
            return load_connection(
                self.connection_block_name, self.login_password_block_name, self.token_block_name
            )
        if self.connection_block_name is None:
            return Connection()
        try:
            return load_connection(self.connection_block_name, needs_login=False)
        except YeeduConfigurationError:
            if self.url.scheme == "https":
                raise
            return Connection()  # over plain http nothing in the details matters


def _generation(text: str | None) -> Generation | None:
    if text is None:
        return None
    try:
        return Generation(text.strip().lower())
    except ValueError:
        pass
    raise YeeduConfigurationError(
        f"The API generation '{text}' is not known; it is one of {', '.join(Generation)}."
    )


def _budget(seconds: float | None) -> float | None:
    if seconds is not None and seconds <= 0:
        raise YeeduConfigurationError(
            f"timeout_seconds is {seconds:g}, but a budget is more than 0 seconds; "
            "leave it out to wait for ever."
        )
    return seconds
