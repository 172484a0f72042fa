"""A stopped cluster is started, where that is wanted, before anything is submitted to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from addressed import execute
from mock_yeedu import MockYeedu

from prefect_yeedu import YeeduConfigurationError, YeeduConflict, YeeduRunTimedOut
from prefect_yeedu.options import make_request


@pytest.fixture
def cluster(mock: MockYeedu) -> Iterator[int]:
    """A cluster that takes a while to start, and is stopped."""
    before = mock.control("GET", "switches")
    mock.control("PATCH", "switches", json={"cluster_start_seconds": 0.5, "stopped_cluster": "refuse"})
    with mock.client("job/101") as client:
        body = {"name": "the stopped one"}
        made = client.call("POST", "cluster", "for a cluster", json=body).json()["cluster_id"]
        client.call("POST", "cluster/stop", "to stop", json={"cluster_id": made})
        yield made
        client.call(
            "POST", "cluster/destroy", "to destroy", json={"cluster_id": made}, accepted=frozenset({201, 409})
        )
        client.call("PUT", "cluster", "to rename", params={"cluster_id": made}, json={"name": f"old {made}"})
    changed = {name: before[name] for name in ("cluster_start_seconds", "stopped_cluster")}
    mock.control("PATCH", "switches", json=changed)


def job_on(mock: MockYeedu, cluster: int) -> int:
    job = mock.control("POST", "jobs", json={"program": "print('done')"})["job_id"]
    with mock.client(f"job/{job}") as client:
        path, query = "workspace/1/spark/job", {"job_id": job}
        client.call("PUT", path, "to bind", params=query, json={"cluster_id": cluster})
    return job


def run(mock: MockYeedu, job: int, **options: Any) -> str:
    with mock.client(f"job/{job}") as client:
        return execute(client, make_request(options)).state


def test_without_the_option_yeedu_refuses_and_says_why(mock: MockYeedu, cluster: int) -> None:
    with pytest.raises(YeeduConflict, match="STOPPED; it must be RUNNING"):
        run(mock, job_on(mock, cluster))


def test_with_it_the_cluster_is_started_and_waited_for(mock: MockYeedu, cluster: int) -> None:
    job = job_on(mock, cluster)
    assert run(mock, job, starts_cluster=True) == "DONE"
    assert run(mock, job, starts_cluster=True) == "DONE"  # it runs already


def test_a_cluster_that_does_not_come_is_given_up(mock: MockYeedu, cluster: int) -> None:
    mock.control("PATCH", "switches", json={"cluster_start_seconds": 60})
    with pytest.raises(YeeduRunTimedOut, match=r"INITIATING .* was not submitted"):
        run(mock, job_on(mock, cluster), starts_cluster=True, cluster_seconds=0.5)


def test_a_disabled_or_destroyed_cluster_is_said_and_left_alone(mock: MockYeedu, cluster: int) -> None:
    job = job_on(mock, cluster)
    with mock.client("job/101") as client:
        client.call("PUT", "cluster/disable", "to disable", json={"cluster_id": cluster})
        with pytest.raises(YeeduConfigurationError, match=f"Cluster {cluster}, .* is disabled; enable it"):
            run(mock, job, starts_cluster=True)
        client.call("PUT", "cluster/enable", "to enable", json={"cluster_id": cluster})
        client.call("POST", "cluster/destroy", "to destroy", json={"cluster_id": cluster})
    with pytest.raises(YeeduConfigurationError, match="DESTROYED; bind the job to another one"):
        run(mock, job, starts_cluster=True)


def test_a_job_of_sql_is_a_job_like_any_other(mock: MockYeedu) -> None:
    body = {
        "name": "some sql",
        "job_type": "THRIFT_SQL",
        "language": "SQL",
        "job_rawScalaCode": "select 6 * 7",
    }
    with mock.client("job/101") as client:
        job = client.call("POST", "workspace/1/spark/job", "for a job", json=body).json()["job_id"]
    with mock.client(f"job/{job}") as client:
        result = execute(client)
    assert result.state == "DONE"
    assert "42" in result.stdout
