"""A flow run in a process of its own, which kills itself between any two of its calls when told to.

Prefect is imported once, by the server that forks the processes: it takes longer than all the flow does.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import httpx
import requests.adapters
import websocket
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.flow_engine import run_flow

from operators.yeedu import YeeduOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from uuid import UUID

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["operators.yeedu", "prefect.flow_engine", "prefect.client.orchestration"])


@dataclass(frozen=True)
class Work:
    """A job or notebook on Yeedu.

    Attributes:
        address: Its address.
        cluster_ids: Where it is tried when resources run out on its own cluster.
    """

    address: str
    cluster_ids: list[int]


@dataclass
class Steps:
    """Counts the moments before and after each call of Yeedu or Prefect, and kills at one of them.

    Attributes:
        last: The moment at which to kill, counted from 1; 0 for never.
    """

    last: int
    count: int = 0
    thread: int = field(default_factory=threading.get_ident)

    def pass_moment(self) -> None:
        if threading.get_ident() != self.thread:
            return  # Prefect sends logs and heartbeats when it likes
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, name: str) -> None:
        """Pass a moment before and one after each call of a method."""
        method: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.pass_moment()
            answer = method(*arguments, **keywords)
            self.pass_moment()
            return answer

        setattr(owner, name, call)


@flow(name="killed", validate_parameters=False)
def killed(address: str, cluster_ids: list[int], steps: Steps) -> dict[str, Any]:
    steps.around(requests.adapters.HTTPAdapter, "send")
    steps.around(httpx.HTTPTransport, "handle_request")
    steps.around(websocket.WebSocket, "send")
    result = YeeduOperator(
        address, "yeedu_connection_details", "yeedu_password", cluster_ids=cluster_ids
    ).execute()
    return {
        "run_id": result.run_id,
        "stdout": result.stdout,
        "cells": [cell.status for cell in result.cells],
        "steps": steps.count,
    }


def run_once(pipe: Connection, api_url: str, work: Work, flow_run_id: UUID, last_step: int) -> None:
    """Say that the flow begins, run it, and send its result."""
    os.environ["PREFECT_API_URL"] = api_url
    refresh_global_settings_context()
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(flow_run_id)
    pipe.send("ready")
    parameters = {"address": work.address, "cluster_ids": work.cluster_ids, "steps": Steps(last_step)}
    pipe.send(run_flow(killed, flow_run=flow_run, parameters=parameters))


class FlowProcess:
    """One attempt of a flow run.

    Args:
        api_url: The Prefect server's.
        work: What the flow runs on Yeedu.
        flow_run_id: The flow run.
        last_step: Where the process kills itself; 0 for nowhere.
    """

    def __init__(self, api_url: str, work: Work, flow_run_id: UUID, last_step: int = 0) -> None:
        self._pipe, inner = CONTEXT.Pipe(duplex=False)
        arguments = (inner, api_url, work, flow_run_id, last_step)
        self._process = CONTEXT.Process(target=run_once, args=arguments)
        self._process.start()
        inner.close()
        self._receive(60)

    def kill_after(self, seconds: float) -> bool:
        """Kill the process so long after its flow began; return whether it was still running."""
        self._process.join(seconds)
        self._process.kill()
        return self._end()

    def wait_for_its_own_kill(self, seconds: float) -> bool:
        """Wait until it has killed itself; return False if it has ended before it came to that."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, "the process neither ended nor killed itself"
        return self._end()

    def result(self, seconds: float) -> dict[str, Any]:
        """Return what the flow returned."""
        try:
            return self._receive(seconds)
        finally:
            self._process.kill()
            self._end()

    def _receive(self, seconds: float) -> Any:
        assert self._pipe.poll(seconds), f"nothing came within {seconds} seconds"
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            raise AssertionError(f"the process ended with {self._process.exitcode}") from None

    def _end(self) -> bool:
        """Take the process's end; return whether it was killed."""
        self._process.join()
        is_killed = self._process.exitcode == -signal.SIGKILL
        self._process.close()
        self._pipe.close()
        return is_killed
