"""`YeeduOperator`: runs a job or notebook by its address and the names of credential blocks."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Unpack

from prefect.context import FlowRunContext, TaskRunContext

from prefect_yeedu.errors import YeeduConfigurationError, YeeduPrefectError
from prefect_yeedu.flow_run.calls import YeeduCall
from prefect_yeedu.flow_run.connection import Access, load_connection
from prefect_yeedu.flow_run.dispatch import with_async_twin
from prefect_yeedu.flow_run.stopping import run_in_thread
from prefect_yeedu.options import make_request
from prefect_yeedu.urls import TargetKind, parse_url

if TYPE_CHECKING:
    import threading

    from prefect_yeedu.models import YeeduResult
    from prefect_yeedu.options import OptionWords


class YeeduOperator:
    """Runs a Yeedu job or notebook, or checks Yeedu's health, from inside a flow or task.

    The first four parameters are those of the operator that Yeedu publishes for Prefect 2.

    Args:
        job_url: Address of a job, notebook, job run or health check, with the port of Yeedu's REST API.
        connection_block_name: Secret block or Variable that holds the connection details as JSON: `username`,
            `YEEDU_VERIFY_SSL` (default true), `YEEDU_SSL_CERT_FILE`, and for single sign-on
            `token_block_name`. Not needed for a health check.
        login_password_block_name: Secret block that holds the password; not needed with a token.
        token_block_name: Secret block that holds a token, used instead of the password; default: the one that
            the connection details name.
        options: Options of the run; see `YeeduOptions`.

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
        **options: Unpack[OptionWords],
    ) -> None:
        self.url = parse_url(job_url)
        self.connection_block_name = connection_block_name
        self.login_password_block_name = login_password_block_name
        self.token_block_name = token_block_name
        self.request = make_request(options)
        # The run's context, for an object that a flow creates and a separate thread executes.
        self._context = contextvars.copy_context()

    async def aexecute(self) -> YeeduResult:
        """Do what `execute` does without blocking the event loop; cancelling it stops the remote run."""
        return await run_in_thread(self._execute)

    @with_async_twin(aexecute)
    def execute(self) -> YeeduResult:
        """Run the target, wait until it has ended, and return the result; in async code, `await` it.

        Raises:
            YeeduError: The call did not succeed; the class says why, and the text what to do.
        """
        return self._execute(None)

    def _execute(self, event: threading.Event | None) -> YeeduResult:
        if FlowRunContext.get() is None and TaskRunContext.get() is None:
            # A copy, as only one thread at a time can enter a context, and several may execute this.
            return self._context.copy().run(self._call, event)
        return self._call(event)

    def _call(self, event: threading.Event | None) -> YeeduResult:
        access = self._load_access()
        return YeeduCall(
            access.to(self.url), self.url.target, self.request, access.note, access.blocks
        ).execute(event)

    def _load_access(self) -> Access:
        if self.url.kind is not TargetKind.HEALTH:
            return load_connection(
                self.connection_block_name, self.login_password_block_name, self.token_block_name
            )
        if self.connection_block_name is None:
            return Access()
        try:
            return load_connection(self.connection_block_name, needs_login=False)
        except (YeeduConfigurationError, YeeduPrefectError):
            if self.url.scheme == "https":
                raise
            return Access()  # over plain http nothing in the details matters
