"""The weather of one plan over one mock: what is otherwise, when it changes, and when it is over.

It takes the place of the mock's list of faults, so that it hears of each request of the API before anything
else does. Changes therefore come with the n-th request and not at a time: a seed brings the same ones again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.weather.fast_time import SPEED, scaled
from yeedu_mock.control.faults import Fault, Faults
from yeedu_mock.control.switches import Switches
from yeedu_mock.state.enums import ClusterStatus, RunStatus
from yeedu_mock.state.records import Cluster, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.weather.plan import Plan, Spell
    from yeedu_mock.mock import Mock
    from yeedu_mock.state.records import Definition

OWN_CLUSTER, OTHER_CLUSTER = 30, 31
COLLEAGUE = "colleague"
COLLEAGUE_RUNS_IT, SAME_USER_RUNS_IT = "a colleague runs it too", "the same user runs it too"
# What tells a colleague's run from the operator's, for the test alone.
RIVALS_CONF = "test.is_rival=true"


class Weather(Faults):
    """Faults, and all else that changes with requests.

    Args:
        mock: The mock, which gets its faults from here from now on.
    """

    def __init__(self, mock: Mock) -> None:
        super().__init__()
        self.mock = mock
        self.loop: asyncio.AbstractEventLoop | None = None
        self.requests = 0
        self._due: list[tuple[int, Callable[[], None]]] = []
        self._clears_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()
        mock.control.faults = self

    def begin(self, plan: Plan, definition: Definition) -> None:
        """Have a plan's weather from now on."""
        self.requests = 0
        self._clears_at = time.monotonic() + plan.clears / SPEED
        self._set(plan.switches)
        for spell in plan.spells:
            self.when(spell.at, lambda spell=spell: self._begin_spell(spell))
        for fault in plan.faults:
            self.add(Fault.model_validate(scaled(fault)))
        for act in plan.acts:
            self.when(act.at, lambda what=act.what: self._act(ACTS[what](self.mock, definition)))

    def clear(self) -> None:
        """End all of it."""
        super().clear()
        self._due = []
        self._clears_at = float("inf")
        self.mock.control.reset_switches()
        cluster = self.mock.store.get(Cluster, OWN_CLUSTER)
        if cluster is not None and cluster.status is ClusterStatus.STOPPED and self.loop is not None:
            self._act(self.mock.clusters.force(cluster, ClusterStatus.RUNNING))

    def when(self, number: int, call: Callable[[], None]) -> None:
        """Make a call in the mock's thread with the n-th request from now on."""
        self._due.append((self.requests + number, call))

    def take(self, method: str, path: str) -> Fault | None:
        """Hear of a request, and return the fault that strikes it, if one does."""
        self.loop = asyncio.get_running_loop()
        if not path.startswith("/api/"):
            return None
        self.requests += 1
        if time.monotonic() >= self._clears_at:
            self.clear()
        due = [call for number, call in self._due if number <= self.requests]
        self._due = [(number, call) for number, call in self._due if number > self.requests]
        for call in due:
            call()
        return super().take(method, path)

    def in_its_thread(self, call: Callable[[], None]) -> None:
        """Make a call in the mock's thread, and wait for its end."""
        assert self.loop is not None, "the mock has had no request yet"
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (call(), done.set()))
        assert done.wait(120)

    def _begin_spell(self, spell: Spell) -> None:
        self._set(spell.switches)
        ends_at = time.monotonic() + spell.seconds / SPEED
        last = self.requests + spell.requests

        def end_if_over() -> None:
            if self.requests >= last or time.monotonic() >= ends_at:
                plain = Switches()
                self._set({name: getattr(plain, name) for name in spell.switches})
            else:
                self._due.append((self.requests + 1, end_if_over))

        self._due.append((self.requests + 1, end_if_over))

    def _set(self, changes: dict[str, Any]) -> None:
        current = self.mock.control.switches
        current.take_over(current.changed(scaled(changes)))

    def _act(self, work: Coroutine[Any, Any, None]) -> None:
        assert self.loop is not None
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def user_of(definition: Definition) -> str:
    """Return who runs a definition: somebody else each time, so that no session outlives a sequence."""
    return f"user-{definition.key}"


def unfinished(mock: Mock) -> list[Run]:
    """Return the operator's runs that go on."""
    return [run for run in mock.runs.unfinished() if RIVALS_CONF not in run.conf]


async def _expire_sessions(mock: Mock, _: Definition) -> None:
    mock.sessions.expire_all()


async def _stop_cluster(mock: Mock, _: Definition) -> None:
    cluster = mock.store.get(Cluster, OWN_CLUSTER)
    assert cluster is not None
    await mock.clusters.force(cluster, ClusterStatus.STOPPED)


async def _end_run(mock: Mock, _: Definition) -> None:
    for run in unfinished(mock):
        await mock.runs.force(run, RunStatus.TERMINATED, "Somebody ended it.")


async def _stop_run(mock: Mock, _: Definition) -> None:
    for run in unfinished(mock):
        if run.status is not RunStatus.STOPPING:
            await mock.runs.stop(run)


async def _kill_kernel(mock: Mock, _: Definition) -> None:
    for run in unfinished(mock):
        if run.type == "notebook" and run.status is RunStatus.RUNNING:
            await mock.runs.kernel(run).kill_process()


async def _drop_websockets(mock: Mock, _: Definition) -> None:
    for run in unfinished(mock):
        if run.type == "notebook" and run.status is RunStatus.RUNNING:
            mock.runs.kernel(run).drop_connections()


def _start_rival(is_of_same_user: bool) -> Callable[[Mock, Definition], Coroutine[Any, Any, None]]:
    async def start(mock: Mock, definition: Definition) -> None:
        kind = "job" if definition.kind == "job" else "notebook"
        rival = Run(
            type=kind,
            definition_id=definition.id,
            definition_name=definition.name,
            workspace_id=definition.workspace_id,
            tenant=mock.store.get(Cluster, OWN_CLUSTER).tenant,  # type: ignore[union-attr]
            cluster_id=definition.cluster_id,
            conf=[RIVALS_CONF],
            created_by=user_of(definition) if is_of_same_user else COLLEAGUE,
            notebook=getattr(definition, "content", None),
        )
        mock.runs.submit(rival, definition)  # type: ignore[arg-type]

    return start


ACTS: dict[str, Callable[[Mock, Definition], Coroutine[Any, Any, None]]] = {
    "every session expires": _expire_sessions,
    "the cluster is stopped": _stop_cluster,
    "the run is ended": _end_run,
    "somebody stops the run": _stop_run,
    "the kernel is killed": _kill_kernel,
    "the websockets are dropped": _drop_websockets,
    COLLEAGUE_RUNS_IT: _start_rival(is_of_same_user=False),
    SAME_USER_RUNS_IT: _start_rival(is_of_same_user=True),
}
