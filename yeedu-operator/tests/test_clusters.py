"""Fallback clusters: which are tried, and where the definition is afterwards, also after a crash."""

from typing import Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from scripted_yeedu import ScriptedYeedu
from watched_run import STOP, Listener, WatchedRun, state

from prefect_yeedu.errors import (
    YeeduError,
    YeeduKernelDied,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduStopRequested,
)
from prefect_yeedu.runs import execution
from prefect_yeedu.runs.clusters import exhaustion_marker, find_marker
from prefect_yeedu.runs.record import ClusterMove, Ledger
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions


@pytest.fixture
def clusters(yeedu: ScriptedYeedu) -> ScriptedYeedu:
    """A job bound to cluster 1, which runs out of memory there and on cluster 2."""
    bound = {"cluster": 1, "run": 8}

    def bind(call: Any) -> Any:
        bound["cluster"] = call.body["cluster_id"]
        return 201, {}

    def submit(call: Any) -> Any:
        bound["run"] += 1
        status = "DONE" if bound["cluster"] == 3 else "ERROR"
        place = f"workspace/1/spark/job/run/{bound['run']}"
        yeedu.on("GET", place, (200, {"run_status": status}))
        yeedu.on("GET", f"{place}/workflow/errors", (200, {"data": [{"error": "Container exit code: 137"}]}))
        yeedu.on("GET", f"{place}/log/stdout", (200, b""))
        yeedu.on("GET", f"{place}/log/stderr", (200, b""))
        return 200, {"run_id": bound["run"]}

    yeedu.on("GET", "workspace/1/spark/job", lambda call: (200, {"cluster_id": bound["cluster"]}))
    yeedu.on("PUT", "workspace/1/spark/job", bind)
    yeedu.on("POST", "workspace/1/spark/job/run", submit)
    return yeedu


def bindings(yeedu: ScriptedYeedu) -> list[int]:
    return [call.body["cluster_id"] for call in yeedu.called("PUT", "workspace/1/spark/job")]


def test_clusters_are_tried_in_order_and_the_own_one_is_restored(clusters: ScriptedYeedu) -> None:
    with clusters.client() as client:
        assert execute(client, RunRequest(cluster_ids=(2, 2, 3, 4))).run_id == 11
    assert bindings(clusters) == [2, 3, 1]


def test_when_no_cluster_is_left_the_failure_stands(clusters: ScriptedYeedu) -> None:
    with clusters.client() as client, pytest.raises(YeeduRunFailed, match="137"):
        execute(client, RunRequest(cluster_ids=(2,)))
    assert bindings(clusters) == [2, 1]


def test_another_failure_tries_no_other_cluster(clusters: ScriptedYeedu) -> None:
    path = "workspace/1/spark/job/run/9/workflow/errors"

    def submit(call: Any) -> Any:
        clusters.on("GET", "workspace/1/spark/job/run/9", (200, {"run_status": "ERROR"}))
        clusters.on("GET", path, (200, {"data": [{"error": "table not found"}]}))
        return 200, {"run_id": 9}

    clusters.on("POST", "workspace/1/spark/job/run", submit)
    request = RunRequest(cluster_ids=(2,), options=WaitOptions(log_patience_seconds=0))
    with clusters.client() as client, pytest.raises(YeeduRunFailed, match="table not found"):
        execute(client, request)
    assert bindings(clusters) == []


@pytest.mark.parametrize(
    "text",
    [
        "Exit code: 137.",
        "exit code 52",
        "OOMKilled",
        "java.lang.OutOfMemoryError: x",
        "Container killed by YARN for exceeding memory limits",
        "DRIVER_TIMEOUT",
    ],
)
def test_markers_of_exhausted_resources_are_found(text: str) -> None:
    assert find_marker(text)


@pytest.mark.parametrize("text", ["exit code 1", "exit code: 1370", "killed it on stage", ""])
def test_other_texts_are_no_markers(text: str) -> None:
    assert find_marker(text) is None


class MoveLedger(Ledger):
    """Holds what a killed attempt has recorded about the definition's cluster."""

    def __init__(self, move: ClusterMove | None) -> None:
        self.move = move

    def read_move(self) -> ClusterMove | None:
        return self.move

    def note_move(self, own_cluster: int, cluster: int) -> None:
        self.move = ClusterMove(own_cluster, cluster)

    def forget_move(self) -> None:
        self.move = None


@pytest.mark.parametrize(
    ("move", "cluster_ids", "expected"),
    [
        # This call's sequence goes on from where it was, and ends on the definition's own cluster.
        (ClusterMove(7, 2), (2, 3), [2, 3, 7]),
        # A cluster that is not to be tried any more is left at once.
        (ClusterMove(7, 5), (2, 3), [7, 2, 3, 7]),
        # What somebody else has left behind is put right first.
        (ClusterMove(7, 2, is_of_this_call=False), (2, 3), [7, 2, 3, 7]),
    ],
)
def test_a_definition_that_was_left_on_another_cluster_gets_its_own_back(
    clusters: ScriptedYeedu, move: ClusterMove, cluster_ids: tuple[int, ...], expected: list[int]
) -> None:
    ledger = MoveLedger(move)
    with clusters.client() as client:
        execute(client, RunRequest(cluster_ids=cluster_ids), None, ledger)
    assert bindings(clusters) == expected
    assert ledger.move is None


def test_a_cluster_that_cannot_be_restored_stays_on_record(clusters: ScriptedYeedu) -> None:
    ledger = MoveLedger(None)
    bind = clusters.routes["PUT", "workspace/1/spark/job"][0]
    clusters.on("PUT", "workspace/1/spark/job", bind, (400, {}))
    with clusters.client() as client, pytest.raises(YeeduRunFailed, match="137"):
        execute(client, RunRequest(cluster_ids=(2,)), None, ledger)
    assert ledger.move == ClusterMove(1, 2)


def stopped_run(clusters: ScriptedYeedu, word: str, errors: list[str], log: bytes = b"") -> None:
    """Have run 9 stopped by somebody on the definition's own cluster."""
    place = "workspace/1/spark/job/run/9"

    def submit(call: Any) -> Any:
        clusters.on("GET", place, (200, {"run_status": word}))
        clusters.on("GET", f"{place}/workflow/errors", (200, {"data": [{"error": text} for text in errors]}))
        clusters.on("GET", f"{place}/log/stdout", (200, b""))
        clusters.on("GET", f"{place}/log/stderr", (200, log))
        return 200, {"run_id": 9}

    clusters.on("POST", "workspace/1/spark/job/run", submit)


@pytest.mark.parametrize("word", ["STOPPED", "KILLED"])
def test_a_run_that_somebody_stopped_is_not_started_again(clusters: ScriptedYeedu, word: str) -> None:
    stopped_run(clusters, word, ["Container exit code: 143"], b"SIGTERM\njava heap space\n")
    with clusters.client() as client, pytest.raises(YeeduRunCancelled, match="stopped from outside"):
        execute(client, RunRequest(cluster_ids=(2, 3)))
    assert len(clusters.called("POST", "workspace/1/spark/job/run")) == 1
    assert bindings(clusters) == []


@pytest.mark.parametrize(
    ("log", "error", "expected"),
    [
        # What a stop leaves in the log of the run that is stopped, by us or somebody else.
        (b"exit code: 143\nSIGTERM\nKilled process 7\nexit code 137\n", "lost", None),
        (b"SIGTERM\njava.lang.OutOfMemoryError: Java heap space\n", "lost", "OutOfMemoryError"),
        # An error was raised before the stop.
        (b"", "the kernel ended with exit code 137", "exit code 137"),
    ],
)
def test_being_killed_means_nothing_in_the_log_of_a_run_that_we_stopped(
    yeedu: ScriptedYeedu, log: bytes, error: str, expected: str | None
) -> None:
    watched = WatchedRun(yeedu)
    watched.ends_when_stopped()
    yeedu.on("GET", "workspace/1/spark/job/run/9/log/stderr", (200, log))
    run = watched.run()
    assert run.stop()
    assert exhaustion_marker(run, YeeduKernelDied(error)) == expected
    run.api.client.close()


def test_a_kernel_that_died_because_somebody_stopped_its_run_is_not_started_again(
    yeedu: ScriptedYeedu,
) -> None:
    watched = WatchedRun(yeedu)
    watched.states(state("RUNNING"), state("STOPPED"))
    yeedu.on("POST", STOP, (409, {}))  # it has ended already
    run = watched.run()
    run.poll()
    assert run.stop()
    assert exhaustion_marker(run, YeeduKernelDied("exit code 137, java heap space")) is None
    run.api.client.close()


def test_a_definition_whose_own_cluster_nobody_knows_is_not_moved(clusters: ScriptedYeedu) -> None:
    clusters.on("GET", "workspace/1/spark/job", (200, {"job_id": 5}))
    listener = Listener()
    with clusters.client() as client, pytest.raises(YeeduRunFailed, match="137"):
        execute(client, RunRequest(cluster_ids=(2, 3)), listener)
    assert bindings(clusters) == []
    [trouble] = [text for text in listener.troubles if "cluster" in text]
    assert trouble.startswith("Yeedu does not say on which cluster job 5 belongs, so it is not moved")


def test_a_definition_gets_its_cluster_back_though_the_call_is_not_wanted_any_more(
    clusters: ScriptedYeedu,
) -> None:
    class EndedClock(FakeClock):
        """Ends every wait after the move, as `StoppableClock` does once its event is set."""

        def sleep(self, seconds: float) -> None:
            if bindings(clusters):
                raise YeeduStopRequested("The wait has ended, because whoever waited was cancelled.")
            super().sleep(seconds)

    ledger = MoveLedger(None)
    bind = clusters.routes["PUT", "workspace/1/spark/job"][0]
    clusters.on("PUT", "workspace/1/spark/job", bind, (503, {}), (503, {}), bind)
    request = RunRequest(cluster_ids=(2,))
    with clusters.client() as client, pytest.raises(YeeduError):
        execution.execute(client, client.url.target, request, None, ledger, EndedClock())
    assert bindings(clusters) == [2, 1, 1, 1]
    assert ledger.move is None
