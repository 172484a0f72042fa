"""A flow run in a process of its own, which kills itself between any two of its calls when told to.

Prefect is imported once, by the server that forks the processes: see `forked_prefect`.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
import requests.adapters
import websocket
from prefect import flow
from prefect.context import SyncClientContext
from prefect.flow_engine import run_flow

from operators.yeedu import YeeduOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from uuid import UUID

# How long an attempt waits for a run that the one before it may have submitted; the mock takes a moment.
SUBMIT_SECONDS = 5.0
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["forked_prefect"])


def start_fork_server(api_url: str) -> None:
    """Start what forks the processes, which then know this Prefect server; does nothing the next time."""
    with patch.dict(os.environ, PREFECT_API_URL=api_url, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()


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
        address,
        "yeedu_connection_details",
        "yeedu_password",
        cluster_ids=cluster_ids,
        submit_seconds=SUBMIT_SECONDS,
    ).execute()
    return {
        "run_id": result.run_id,
        "stdout": result.stdout,
        "cells": [cell.status for cell in result.cells],
        "steps": steps.count,
    }


def run_once(pipe: Connection, work: Work, flow_run_id: UUID, last_step: int) -> None:
    """Say that the flow begins, run it, and send its result."""
    parameters = {"address": work.address, "cluster_ids": work.cluster_ids, "steps": Steps(last_step)}
    with SyncClientContext.get_or_create() as prefect:
        flow_run = prefect.client.read_flow_run(flow_run_id)
        pipe.send("ready")
        pipe.send(run_flow(killed, flow_run=flow_run, parameters=parameters))


class FlowProcess:
    """One attempt of a flow run.

    Args:
        work: What the flow runs on Yeedu.
        flow_run_id: The flow run.
        last_step: Where the process kills itself; 0 for nowhere.
    """

    def __init__(self, work: Work, flow_run_id: UUID, last_step: int = 0) -> None:
        self._pipe, inner = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=run_once, args=(inner, work, flow_run_id, last_step))
        self._process.start()
        inner.close()
        self._receive(300)

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
