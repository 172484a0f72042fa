"""The same jobs and notebooks in every generation, with password and token, over HTTP and over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from addressed import execute

from prefect_yeedu.errors import YeeduCellFailed, YeeduRunFailed
from prefect_yeedu.models import Generation, YeeduResult
from prefect_yeedu.runs.request import RunRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mock_yeedu import MockYeedu

    Run = Callable[[str, int], YeeduResult]

JOB_PLACES = {
    Generation.V1: "spark/conf/{}",
    Generation.V1B: "spark/conf/job/{}",
    Generation.V2: "spark/job/{}",
}


@pytest.fixture(params=["http", "tls"])
def yeedu_server(request: pytest.FixtureRequest) -> MockYeedu:
    """A mock, behind a certificate of a private CA or without any."""
    return request.getfixturevalue("mock" if request.param == "http" else "tls_mock")


@pytest.fixture(params=["password", "token"])
def token(request: pytest.FixtureRequest, yeedu_server: MockYeedu) -> Iterator[str | None]:
    """A token that has selected its tenant, or None to log in with a password."""
    if request.param == "password":
        yield None
        return
    with yeedu_server.client("job/1") as other:
        yield other.token()


@pytest.fixture(params=list(Generation))
def run(request: pytest.FixtureRequest, yeedu_server: MockYeedu, token: str | None) -> Run:
    """Run a job or notebook as users of that generation, login and transport do."""

    def run(kind: str, identifier: int) -> YeeduResult:
        place = JOB_PLACES[request.param] if kind == "job" else "spark/notebook/{}"
        with yeedu_server.client(place.format(identifier), token) as client:
            return execute(client, RunRequest(generation=request.param))

    return run


def test_a_job_s_result_is_returned(run: Run) -> None:
    result = run("job", 101)
    assert result.state == "DONE"
    assert "Done." in result.stdout
    assert result.stderr == "This line goes to the error stream.\n"


def test_a_job_s_failure_is_raised(run: Run) -> None:
    with pytest.raises(YeeduRunFailed, match="ended in ERROR"):
        run("job", 102)


def test_a_notebook_s_cells_are_returned(run: Run) -> None:
    result = run("notebook", 201)
    assert result.state == "STOPPED"
    assert [cell.status for cell in result.cells] == ["ok"] * 3
    assert result.outputs[1].text == "45"


def test_a_notebook_s_failure_names_its_cell(run: Run) -> None:
    with pytest.raises(YeeduCellFailed, match="Cell 2 of 3"):
        run("notebook", 202)
