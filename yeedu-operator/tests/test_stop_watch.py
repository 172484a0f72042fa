"""A wait ends when nobody wants it any more, in any thread, and through whatever Prefect answers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Pending, Running

from prefect_yeedu.errors import YeeduStopRequested
from prefect_yeedu.flow_run import stopping
from prefect_yeedu.flow_run.stopping import StoppableClock, StopWatch

FLOW_RUN = uuid4()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask every tenth of a second, from the main thread every fifth."""
    monkeypatch.setattr(stopping, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(stopping, "ASK_IN_MAIN_THREAD_SECONDS", 0.2)
    monkeypatch.setattr(stopping, "SLICE_SECONDS", 0.05)


@contextmanager
def answering(*answers: tuple[int, bytes]) -> Iterator[list[str]]:
    """Stand at PREFECT_API_URL and answer so, the last one for ever; yields what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/api"
    try:
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}):
            yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def outcome(call: Callable[[], None]) -> str:
    """Return why a wait ended, or `waited`."""
    try:
        call()
    except YeeduStopRequested as error:
        return str(error)
    return "waited"


def in_thread(watch: StopWatch, seconds: float) -> str:
    """Wait in a thread that no signal reaches; return how it ended."""
    found: list[str] = []
    thread = threading.Thread(
        target=copy_context().run,  # a test's settings are bound to its context
        args=[lambda: found.append(outcome(lambda: StoppableClock(watch).sleep(seconds)))],
    )
    thread.start()
    thread.join()
    return found[0]


def wait_until_asked(watch: StopWatch, asked: list[str]) -> None:
    """Wait until Prefect has been asked three times; none of the answers may end the wait."""
    deadline = time.monotonic() + 60
    while len(asked) < 3:
        assert time.monotonic() < deadline, "Prefect is not asked."
        assert in_thread(watch, 0.1) == "waited"


def watch_of(monkeypatch: pytest.MonkeyPatch, event: threading.Event | None = None) -> StopWatch:
    monkeypatch.setattr(stopping, "_flow_run_id", lambda: FLOW_RUN)
    return StopWatch(event)


@pytest.mark.parametrize(
    ("state", "behavior", "is_due"),
    [
        (AwaitingRetry(), "reschedule", True),
        (Running(), "reschedule", False),
        (Running(), "relinquish", True),
        (Cancelling(), "relinquish", False),
        (Cancelling(), "reschedule", False),
        (Crashed(), "", False),
    ],
)
@pytest.mark.usefixtures("prefect_server")
def test_flow_run_of_an_evicted_pod_is_due_again(
    monkeypatch: pytest.MonkeyPatch, state: State[Any], behavior: str, is_due: bool
) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(flow(lambda: None, name="evicted"))
        client.set_flow_run_state(run.id, state, force=True)
    monkeypatch.setattr(stopping, "_flow_run_id", lambda: FLOW_RUN)  # a subflow's, say
    monkeypatch.setattr(stopping, "ASK_SECONDS", 30.0)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
    monkeypatch.setenv("PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR", behavior)
    watch = StopWatch()
    assert watch.is_due_again(TerminationSignal(15)) is is_due
    assert watch.is_due_again(KeyboardInterrupt()) is False


@pytest.mark.parametrize(
    "answer", [(500, b"{}"), (404, b'{"detail":"Flow run not found"}'), (200, b"<html>")]
)
def test_without_an_answer_no_flow_run_is_due_again(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes]
) -> None:
    watch = watch_of(monkeypatch)
    with answering(answer):
        assert watch.is_due_again(TerminationSignal(15)) is False


def test_an_event_ends_a_wait_at_once_by_raising() -> None:
    event = threading.Event()
    clock = StoppableClock(StopWatch(event))
    threading.Timer(0.1, event.set).start()
    began_at = time.monotonic()
    with pytest.raises(YeeduStopRequested, match="whoever waited for it was cancelled"):
        clock.sleep(60)
    assert time.monotonic() - began_at < 30
    with pytest.raises(YeeduStopRequested):
        clock.sleep(60)  # nobody loops over waits that do not last


def test_a_wait_that_nobody_ends_lasts() -> None:
    began_at = time.monotonic()
    StoppableClock(StopWatch()).sleep(0.3)
    assert time.monotonic() - began_at >= 0.3


NOT_FOUND = (404, b'{"detail":"Flow run not found"}')


@pytest.mark.parametrize(
    "answer",
    [(500, b"{}"), (401, b"{}"), (404, b"<html>"), (404, b"[]"), (200, b"{}"), (200, b"<html>"), (302, b"")],
)
def test_whatever_prefect_answers_the_wait_goes_on(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes]
) -> None:
    watch = watch_of(monkeypatch)
    with answering(answer) as asked:
        wait_until_asked(watch, asked)


def test_a_prefect_that_is_away_does_not_end_the_wait(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    away = {PREFECT_API_URL: f"http://127.0.0.1:{unused_port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away):
        assert in_thread(watch_of(monkeypatch), 0.5) == "waited"


def test_a_prefect_that_hangs_does_not_hold_up_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(stopping, "get_client", lambda *_, **__: release.wait(90))
    began_at = time.monotonic()
    assert in_thread(watch_of(monkeypatch), 0.5) == "waited"
    release.set()
    assert time.monotonic() - began_at < 45


def test_one_not_found_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watch_of(monkeypatch)
    with answering(NOT_FOUND, (500, b"{}")) as asked:
        wait_until_asked(watch, asked)


def test_a_deleted_flow_run_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(NOT_FOUND):
        assert "because the flow run was deleted" in in_thread(watch_of(monkeypatch), 90)


def test_a_deleted_flow_run_ends_the_wait_in_the_main_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(NOT_FOUND):
        watch = watch_of(monkeypatch)
        assert "was deleted" in outcome(lambda: StoppableClock(watch).sleep(90))


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestWithPrefect:
    """The same with the real server."""

    @pytest.fixture
    def flow_run_id(self, monkeypatch: pytest.MonkeyPatch) -> UUID:
        @flow
        def waiting() -> None:
            pass

        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run(waiting, state=Running())
        monkeypatch.setattr(stopping, "_flow_run_id", lambda: flow_run.id)
        return flow_run.id

    def later(self, call: Callable[[Any], object]) -> None:
        def act() -> None:
            with get_client(sync_client=True) as client:
                call(client)

        threading.Timer(0.5, act).start()

    def test_a_cancelled_flow_run_ends_a_long_wait(self, flow_run_id: UUID) -> None:
        self.later(lambda client: client.set_flow_run_state(flow_run_id, Cancelling(), force=True))
        assert "because the flow run is Cancelling" in in_thread(StopWatch(), 100)

    @pytest.mark.parametrize("state", [Cancelled(), Crashed()])
    def test_a_flow_run_that_was_ended_ends_a_long_wait(self, flow_run_id: UUID, state: State[Any]) -> None:
        self.later(lambda client: client.set_flow_run_state(flow_run_id, state, force=True))
        assert f"because the flow run is {state.name}" in in_thread(StopWatch(), 100)

    def test_another_attempt_of_the_flow_run_ends_a_wait_in_a_process_of_its_own(
        self, flow_run_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def begin_anew(client: Any) -> None:
            for state in (AwaitingRetry(), Pending(), Running()):
                client.set_flow_run_state(flow_run_id, state, force=True)

        monkeypatch.setattr(stopping, "_detached_attempt", lambda: 1)
        watch = StopWatch()
        assert in_thread(watch, 0.3) == "waited"
        self.later(begin_anew)
        assert "because the flow run goes on with another attempt" in in_thread(watch, 100)

    @pytest.mark.parametrize("state", [Completed(), Failed()])
    def test_a_task_that_nobody_waited_for_outlives_its_flow_run(
        self, flow_run_id: UUID, state: State[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []
        ask = StopWatch._ask

        def count(self: StopWatch, *args: Any) -> None:
            ask(self, *args)
            asked.append(True)

        monkeypatch.setattr(StopWatch, "_ask", count)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, state, force=True)
        watch = StopWatch()
        deadline = time.monotonic() + 60
        while len(asked) < 3:
            assert time.monotonic() < deadline, "Prefect is not asked."
            assert in_thread(watch, 0.1) == "waited"

    def test_a_deleted_flow_run_ends_a_long_wait(self, flow_run_id: UUID) -> None:
        self.later(lambda client: client.delete_flow_run(flow_run_id))
        assert "because the flow run was deleted" in in_thread(StopWatch(), 100)

    def test_a_cancelled_flow_run_does_not_end_a_wait_in_the_main_thread(self, flow_run_id: UUID) -> None:
        watch = StopWatch()
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, Cancelling(), force=True)
        assert outcome(lambda: StoppableClock(watch).sleep(1)) == "waited"
