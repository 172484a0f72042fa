"""One call of Yeedu from Prefect: what the facade, the tasks and the blocks have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_yeedu.client.client import shared_client
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.run_artifacts import RunArtifacts
from prefect_yeedu.flow_run.run_logging import RunLogListener, find_logger
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.flow_run.stopping import StoppableClock, StopWatch
from prefect_yeedu.models import Generation, YeeduResult
from prefect_yeedu.runs.execution import execute, find_api
from prefect_yeedu.runs.starting import RunRequest, StartedRun, checked_conf, start
from prefect_yeedu.runs.waiting import WaitOptions
from prefect_yeedu.urls import TargetKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from prefect_yeedu.client.client import YeeduClient
    from prefect_yeedu.flow_run.connection import Access
    from prefect_yeedu.runs.submission import Ledger
    from prefect_yeedu.urls import YeeduURL


@dataclass(frozen=True)
class YeeduCall:
    """A call that can be made.

    Attributes:
        url: What is called.
        request: With what.
        access: By whom.
    """

    url: YeeduURL
    request: RunRequest
    access: Access

    def execute(self, event: threading.Event | None = None) -> YeeduResult:
        """Run it, wait for its end, and return what came of it.

        Args:
            event: Set when the run is not wanted any more.
        """
        client, watch = self.open_client(), StopWatch(event)
        result = execute(
            client,
            self.url.target,
            self.request,
            self.listener(watch),
            self.ledger(),
            StoppableClock(watch),
        )
        if self.url.kind is TargetKind.HEALTH:
            find_logger().info("Yeedu at %s is healthy.", self.url.origin)
        return result

    def start(self, event: threading.Event | None = None) -> StartedRun:
        """Submit it, or find the run again that an earlier attempt submitted."""
        if self.url.kind not in {TargetKind.JOB, TargetKind.NOTEBOOK}:
            raise YeeduConfigurationError("Only a job's or a notebook's address can be triggered.")
        watch = StopWatch(event)
        api = find_api(self.open_client(), self.url.target, self.request, StoppableClock(watch))
        return start(api, self.url.id, self.request, self.listener(watch), self.ledger())

    def open_client(self) -> YeeduClient:
        """Return this process's client for the connection; say how it logs in, where there was a choice."""
        if self.access.note and self.url.kind is not TargetKind.HEALTH:
            find_logger().info(self.access.note)
        return shared_client(self.access.to(self.url))

    def listener(self, watch: StopWatch) -> RunLogListener:
        """Return what writes to the run's log and makes its artifacts."""
        artifacts = RunArtifacts(f"yeedu-{self.url.kind}-{self.url.id}")
        return RunLogListener(find_logger(), watch, artifacts)

    def ledger(self) -> Ledger:
        """Return where the run of this call is recorded."""
        url = self.url
        what = (url.origin, url.tenant, url.workspace_id, str(url.kind), url.id)
        return ArtifactLedger.of_this_call(
            repr((*what, self.request.arguments, self.request.conf)),
            repr(what),
            f"Yeedu {url.kind} {url.id}",
        )


def make_request(
    *,
    arguments: str | None = None,
    conf: Sequence[str] = (),
    timeout_seconds: float | None = None,
    generation: str | None = None,
    ui_url: str | None = None,
    cluster_ids: Sequence[int] = (),
    saves_outputs: bool = True,
) -> RunRequest:
    """Return a request of checked arguments.

    Raises:
        YeeduConfigurationError: One of them cannot be used.
    """
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise YeeduConfigurationError(
            f"timeout_seconds is {timeout_seconds:g}, but a budget is more than 0 seconds; "
            "leave it out to wait for ever."
        )
    if any(cluster <= 0 for cluster in cluster_ids):
        raise YeeduConfigurationError("cluster_ids holds a number that is not a cluster's id; correct it.")
    return RunRequest(
        arguments=arguments,
        conf=checked_conf(conf),
        generation=_generation(generation),
        ui_url=ui_url or os.environ.get("YEEDU_UI_URL") or None,
        options=WaitOptions(timeout_seconds=timeout_seconds, saves_outputs=saves_outputs),
        cluster_ids=tuple(cluster_ids),
    )


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
