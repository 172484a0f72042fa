"""Blocks and tasks, on a real Prefect server with the mock Yeedu."""

import asyncio
from typing import Any

import pytest
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect.utilities.dispatch import get_registry_for_type
from prefect_blocks import credentials

from prefect_yeedu import (
    YeeduConfigurationError,
    YeeduCredentials,
    YeeduJob,
    YeeduNotebook,
    YeeduRunFailed,
    run_yeedu_job,
    run_yeedu_notebook,
)
from prefect_yeedu.errors import YeeduRunError

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("block", [YeeduCredentials, YeeduJob, YeeduNotebook])
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert block._logo_url is None  # a picture would have to be fetched from somewhere


def test_the_catalogue_gets_the_three_types_and_nothing_internal() -> None:
    registry = get_registry_for_type(Block) or {}
    named = {slug: f"{block.__module__}.{block.__name__}".lower() for slug, block in registry.items()}
    ours = {slug for slug, name in named.items() if "yeedu" in name}
    assert ours == {"yeedu-credentials", "yeedu-job", "yeedu-notebook"}


def test_a_saved_job_is_triggered_waited_for_and_fetched(mock: MockYeedu) -> None:
    made = YeeduJob(credentials=credentials(mock), job_url=mock.url("job/101"))
    made.save("hello", overwrite=True)

    @flow
    def caller() -> str:
        run = YeeduJob.load("hello").trigger()
        with pytest.raises(YeeduRunError, match="has not been waited for"):
            run.fetch_result()
        run.wait_for_completion()
        return run.fetch_result().stdout

    assert "Done." in caller()
    assert mock.password not in repr(made)
    assert mock.password not in repr(YeeduJob.load("hello"))


def test_the_async_twins_do_the_same(mock: MockYeedu) -> None:
    @flow
    async def caller() -> Any:
        run = await YeeduNotebook(
            credentials=credentials(mock), notebook_url=mock.url("notebook/201")
        ).trigger()
        await run.wait_for_completion()
        return await run.fetch_result()

    assert [cell.status for cell in asyncio.run(caller()).cells] == ["ok"] * 3


def test_a_failure_is_raised_when_the_result_is_fetched(mock: MockYeedu) -> None:
    run = YeeduJob(credentials=credentials(mock), job_url=mock.url("job/102")).trigger()
    run.wait_for_completion()
    with pytest.raises(YeeduRunFailed, match="exit code 3"):
        run.fetch_result()


def test_a_block_refuses_the_other_kind_of_address(mock: MockYeedu) -> None:
    with pytest.raises(YeeduConfigurationError, match="not one of a job"):
        YeeduJob(credentials=credentials(mock), job_url=mock.url("notebook/201")).trigger()


def test_the_tasks_return_the_result(mock: MockYeedu) -> None:
    @flow
    def caller() -> tuple[str, str]:
        who = credentials(mock)
        job = run_yeedu_job.submit(mock.url("job/101"), who)
        notebook = run_yeedu_notebook.submit(mock.url("notebook/201"), who)
        return job.result().state, notebook.result().state

    assert caller() == ("DONE", "STOPPED")
