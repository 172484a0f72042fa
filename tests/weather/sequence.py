"""One sequence from its plan to what is wrong with it: attempts in bad weather, then `left_runs`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from contextvars import copy_context
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Cancelled, Cancelling
from prefect.variables import Variable

from prefect_yeedu import YeeduCredentials
from prefect_yeedu.flow_run.left_runs import stop_left_runs
from tests.weather import invariants
from tests.weather.calls import FLOWS, Notes, Outcome, Work, run_attempt, run_in_process
from tests.weather.mock_weather import OTHER_CLUSTER, user_of
from tests.weather.records import read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

    from tests.weather.definitions import Yeedu
    from tests.weather.plan import Attempt, Plan
    from yeedu_mock.state.records import Definition

ROOT = Path(__file__).parents[2]
PROCESSES = get_context("forkserver")
# A submission whose fate is not known is looked for for minutes, and once more in each retry.
REAL_SECONDS_OF_AN_ATTEMPT = 400.0


@contextlib.contextmanager
def fork_server() -> Iterator[None]:
    """Run what forks the processes of sequences."""
    PROCESSES.set_forkserver_preload(["tests.weather.forked"])
    try:
        with patch.dict(os.environ, PYTHONPATH=str(ROOT)):
            forkserver.ensure_running()
        yield
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


class Sequence:
    """Flies one plan.

    Args:
        plan: The plan.
        yeedu: The mock, which nobody else uses meanwhile.
        prefect: A client of the Prefect server.
    """

    def __init__(self, plan: Plan, yeedu: Yeedu, prefect: SyncPrefectClient) -> None:
        self.plan = plan
        self.outcomes: list[Outcome] = []
        self._yeedu = yeedu
        self._prefect = prefect
        self._mock = yeedu.running.mock

    def fly(self) -> list[str]:
        """Return what is wrong at the end."""
        plan, weather = self.plan, self._yeedu.weather
        definition = self._yeedu.add_definition(plan)
        work = self._work(definition)
        flow_run_id = self._create_flow_run(work.url)
        weather.in_its_thread(lambda: weather.begin(plan, definition))
        wrong: list[str] = []
        try:
            for number, attempt in enumerate(plan.attempts, 1):
                if not self._attempt(attempt, work, flow_run_id):
                    wrong.append("ENDLESS: an attempt did not end")
                is_last = number == len(plan.attempts)
                if attempt.ends and is_last:
                    self._set_state(flow_run_id, Cancelled())
                elif not is_last:
                    self._set_state(flow_run_id, AwaitingRetry())
        finally:
            weather.in_its_thread(weather.clear)
        self._yeedu.wait_for_requests()
        return [*wrong, *self._judge(flow_run_id)]

    def _judge(self, flow_run_id: UUID) -> Iterator[str]:
        plan, mock = self.plan, self._mock
        yield from invariants.submitted_once(mock)
        yield from invariants.results_are_its_own(mock, plan, self.outcomes)
        yield from invariants.errors_are_ours(self.outcomes)
        yield from invariants.fine_weather_brings_a_result(plan, self.outcomes)
        yield from invariants.requests_are_few(self._yeedu.weather.requests, len(self.outcomes))
        recorded = read_records(self._prefect, flow_run_id)
        yield from invariants.records_are_true(mock, recorded)
        yield from invariants.runs_are_accounted_for(mock, recorded)
        state = self._prefect.read_flow_run(flow_run_id).state
        if state is None or not state.is_final():  # as whoever finds it would say
            self._set_state(flow_run_id, Cancelled())
        sentences = stop_left_runs(flow_run_id)
        self._yeedu.wait_for_stops()
        yield from invariants.left_runs_have_ended(mock, plan, sentences)
        known = {*recorded}
        later = [record for record in read_records(self._prefect, flow_run_id) if record not in known]
        yield from invariants.records_are_true(mock, later)

    def _work(self, definition: Definition) -> Work:
        plan, running = self.plan, self._yeedu.running
        url = running.job_url if plan.kind == "job" else running.notebook_url
        # The ready-made tasks find it out, as they do for a user who says nothing.
        generation = None if plan.way == "ready" else plan.generation
        others = [OTHER_CLUSTER] if plan.is_too_small else []
        blocks = self._save_user(user_of(definition))
        return Work(plan.kind, url(definition.id), blocks, generation, plan.timeout_seconds, others)

    def _save_user(self, name: str) -> str:
        """Add a user; return the name of what the operator finds the connection details in."""
        yeedu, password = self._yeedu, self._yeedu.running.settings.password
        yeedu.control("POST", "users", username=name, password=password, tenants=[yeedu.running.tenant])
        blocks = f"weather-{yeedu.running.url.rpartition(':')[2]}-{name}"
        certificate = "" if yeedu.verify is True else str(yeedu.verify)
        if self.plan.way == "ready":
            user: dict[str, Any] = {
                "username": name,
                "password": password,
                "ssl_cert_file": certificate or None,
            }
            YeeduCredentials(**user).save(blocks, overwrite=True)
        else:
            details = {"username": name, "YEEDU_SSL_CERT_FILE": certificate}
            Variable.set(blocks.replace("-", "_"), json.dumps(details), overwrite=True)
        return blocks if self.plan.way == "ready" else blocks.replace("-", "_")

    def _create_flow_run(self, url: str) -> UUID:
        running = self._yeedu.running
        parameters = {"none": {}, "own": {"url": url}, "both": {"url_of_another": "", "url": url}}[
            self.plan.parameters
        ]
        if "url_of_another" in parameters:
            other = running.notebook_url(201) if self.plan.kind == "job" else running.job_url(103)
            parameters["url_of_another"] = other
        chosen = FLOWS[self.plan.way].with_options(retries=self.plan.retries)
        return self._prefect.create_flow_run(flow=chosen, parameters=parameters).id

    def _set_state(self, flow_run_id: UUID, state: Any) -> None:
        self._prefect.set_flow_run_state(flow_run_id, state, force=True)

    def _attempt(self, attempt: Attempt, work: Work, flow_run_id: UUID) -> bool:
        """Make one attempt, and interrupt it where that is planned; return whether it has ended."""
        if self.plan.way == "process":
            return self._attempt_in_process(attempt, work, flow_run_id)
        notes = Notes(self.outcomes.append)
        arguments = (self.plan.way, work, notes, flow_run_id, self.plan.retries)
        thread = threading.Thread(target=_quietly(copy_context().run, run_attempt, *arguments), daemon=True)
        with self._interrupting(attempt, lambda: self._cancel(notes, flow_run_id)):
            thread.start()
            return self._has_ended(thread.join, thread.is_alive)

    def _attempt_in_process(self, attempt: Attempt, work: Work, flow_run_id: UUID) -> bool:
        ours, theirs = PROCESSES.Pipe(duplex=False)
        arguments = (theirs, str(PREFECT_API_URL.value()), work, flow_run_id, self.plan.retries)
        process = PROCESSES.Process(target=run_in_process, args=arguments)
        number = signal.SIGKILL if attempt.ends == "kill" else signal.SIGTERM
        with ours, self._interrupting(attempt, lambda: os.kill(process.pid or 0, number)):
            process.start()
            theirs.close()
            has_ended = self._has_ended(process.join, process.is_alive)
            process.kill()
            process.join()
            while ours.poll():
                try:
                    self.outcomes.append(ours.recv())
                except (EOFError, OSError):
                    break
        process.close()
        return has_ended

    def _has_ended(self, join: Callable[[float], None], is_alive: Callable[[], bool]) -> bool:
        join(REAL_SECONDS_OF_AN_ATTEMPT)
        if not is_alive():
            return True
        weather = self._yeedu.weather
        weather.in_its_thread(weather.clear)
        join(REAL_SECONDS_OF_AN_ATTEMPT)
        return False

    def _cancel(self, notes: Notes, flow_run_id: UUID) -> None:
        if self.plan.way == "async":
            notes.cancel()
        else:
            threading.Thread(target=_quietly(self._set_state, flow_run_id, Cancelling()), daemon=True).start()

    @contextlib.contextmanager
    def _interrupting(self, attempt: Attempt, interrupt: Callable[[], None]) -> Iterator[None]:
        """Interrupt with the planned request, unless the attempt has ended before."""
        is_over = False

        def interrupt_if_still_there() -> None:
            if not is_over:
                interrupt()

        if attempt.ends:
            weather = self._yeedu.weather
            weather.in_its_thread(lambda: weather.when(attempt.at, interrupt_if_still_there))
        try:
            yield
        finally:
            is_over = True


def _quietly(call: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    """Return a call whose exception is nobody's business: what counts was told before."""

    def run() -> None:
        with contextlib.suppress(BaseException):
            call(*arguments)

    return run


def prefect_client() -> SyncPrefectClient:
    """Return a client that has patience with a busy machine."""
    return get_client(sync_client=True, httpx_settings={"timeout": 120})
