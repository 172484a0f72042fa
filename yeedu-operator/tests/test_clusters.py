"""Fallback clusters: which are tried, and where the definition is afterwards, also after a crash."""

from typing import Any

import pytest
from addressed import execute
from scripted_yeedu import ScriptedYeedu

from prefect_yeedu.errors import YeeduRunFailed
from prefect_yeedu.runs.clusters import find_marker
from prefect_yeedu.runs.record import ClusterMove, Ledger
from prefect_yeedu.runs.starting import RunRequest
from prefect_yeedu.runs.waiting import WaitOptions


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
