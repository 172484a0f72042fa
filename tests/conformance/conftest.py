"""Drives the published clients, each in an environment of its own, all at the same time: they sleep a lot."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import cli_commands, cli_scenarios, mcp_scenarios, operator_scenarios
from tests.conformance.clients import PREFECT_YEEDU_OPERATOR, YEEDU_CLI, YEEDU_MCP_SERVER
from tests.environments import EnvironmentUnavailableError, environment_of, give_up

CLIENTS = {"operator": PREFECT_YEEDU_OPERATOR, "cli": YEEDU_CLI, "mcp": YEEDU_MCP_SERVER}
SCENARIOS: dict[str, Callable[[Path, Path], Any]] = {
    "operator_notebook": operator_scenarios.notebook,
    "operator_jobs": operator_scenarios.jobs,
    "operator_token": operator_scenarios.token,
    "cli_job": cli_scenarios.job,
    "cli_failing_job": cli_scenarios.failing_job,
    "cli_stopped_job": cli_scenarios.stopped_job,
    "cli_notebook": cli_scenarios.notebook,
    "cli_failing_notebook": cli_scenarios.failing_notebook,
    "cli_workspace": cli_scenarios.workspace,
    "cli_every_command": cli_commands.every_command,
    "mcp_jobs": mcp_scenarios.jobs,
    "mcp_sql_and_functions": mcp_scenarios.sql_and_functions,
    "mcp_clusters": mcp_scenarios.clusters,
}


@pytest.fixture(scope="session")
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """The scenarios that the selected tests look at, all under way."""
    wanted = {
        name
        for item in request.session.items
        if not item.get_closest_marker("skip")
        for name in getattr(item, "fixturenames", ())
    }
    selected = [name for name in SCENARIOS if name in wanted]
    with ThreadPoolExecutor(len(CLIENTS) + len(SCENARIOS)) as pool:
        installed = {
            kind: pool.submit(environment_of, client)
            for kind, client in CLIENTS.items()
            if any(name.startswith(f"{kind}_") for name in selected)
        }

        def drive(name: str, folder: Path) -> Any:
            return SCENARIOS[name](folder, installed[name.split("_")[0]].result())

        # Folders are made here: pytest's factory is not for several threads at once.
        yield {name: pool.submit(drive, name, tmp_path_factory.mktemp(name)) for name in selected}


def _report_of(name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def report(started: dict[str, Future[Any]]) -> Any:
        try:
            return started[name].result()
        except EnvironmentUnavailableError as error:
            give_up("the client", error)

    return report


operator_jobs = _report_of("operator_jobs")
operator_notebook = _report_of("operator_notebook")
operator_token = _report_of("operator_token")
cli_job = _report_of("cli_job")
cli_failing_job = _report_of("cli_failing_job")
cli_stopped_job = _report_of("cli_stopped_job")
cli_notebook = _report_of("cli_notebook")
cli_failing_notebook = _report_of("cli_failing_notebook")
cli_workspace = _report_of("cli_workspace")
cli_every_command = _report_of("cli_every_command")
mcp_jobs = _report_of("mcp_jobs")
mcp_sql_and_functions = _report_of("mcp_sql_and_functions")
mcp_clusters = _report_of("mcp_clusters")
