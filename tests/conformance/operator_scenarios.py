"""What is done with `prefect-yeedu-operator`: flow runs on Prefect 2, against a mock of their own."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.client_process import Ended, run_client
from tests.conformance.mock_process import MockProcess, mock_process

SCRIPT = Path(__file__).with_name("flows_on_prefect_2.py")


@dataclass(frozen=True)
class FlowRuns:
    """What flow runs in one process have led to.

    Attributes:
        process: The process, with the log of its flow runs.
        states: Each run's final state and message, as the API of Prefect 2 has them.
        calls: The mock's journal.
        mock_url: Where the mock was.
        cells: The sample notebook's cells afterwards, where a notebook was run.
    """

    process: Ended
    states: list[dict[str, str]]
    calls: list[str]
    mock_url: str
    cells: list[dict[str, Any]]


def jobs(folder: Path, installed: Path) -> FlowRuns:
    """Check the health, run a job that succeeds, and one that fails, as three flow runs."""
    with mock_process(folder) as mock:
        urls = [mock.examples["health"], mock.job_conf_url(101), mock.job_conf_url(102)]
        return _run_flows(mock, folder, installed, urls)


def notebook(folder: Path, installed: Path) -> FlowRuns:
    """Run a notebook of three cells."""
    with mock_process(folder) as mock:
        runs = _run_flows(mock, folder, installed, [mock.examples["v1"]["notebook"]])
        conf = mock.get(mock.log_in(), "workspace/1/notebook/conf?notebook_conf_id=201")
        return FlowRuns(runs.process, runs.states, runs.calls, runs.mock_url, conf["notebook_cells"]["cells"])


def token(folder: Path, installed: Path) -> FlowRuns:
    """Run a job with a token that has been used before, with the one switch that this client needs for it."""
    with mock_process(folder) as mock:
        stored = mock.log_in()
        mock.forget_calls()
        mock.switch(select_again=True)
        return _run_flows(mock, folder, installed, [mock.job_conf_url(101)], YEEDU_TOKEN=stored)


def _run_flows(
    mock: MockProcess, folder: Path, installed: Path, urls: list[str], **environment: str
) -> FlowRuns:
    prefect_home = folder / "prefect-home"
    shutil.copytree(installed / "home", prefect_home)
    report = folder / "report.json"
    ended = run_client(
        [str(installed / "bin" / "python"), "-I", str(SCRIPT), *urls, str(report)],
        folder,
        PREFECT_HOME=str(prefect_home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_API_BLOCKS_REGISTER_ON_START="false",  # saving a block registers its type anyway
        PREFECT_LOGGING_TO_API_ENABLED="false",  # this client logs its token, which shall stay off the disk
        YEEDU_USERNAME=mock.username,
        YEEDU_PASSWORD=mock.password,
        **environment,
    )
    assert report.exists(), ended.output
    states = json.loads(report.read_text(encoding="utf-8"))
    return FlowRuns(ended, states, mock.calls(), mock.url, [])
