"""The life of runs, without a server before it."""

import asyncio

import pytest

from yeedu_mock.errors import MockError
from yeedu_mock.mock import open_mock
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import JobDefinition, Run
from yeedu_mock.testing import default_settings


def test_nothing_is_submitted_after_the_end(tmp_path):
    mock = open_mock(default_settings(tmp_path))
    definition = mock.store.get(JobDefinition, 101)
    run = Run(type="job", definition_id=101, definition_name="hello", workspace_id=1, tenant="t")

    async def close_and_submit():
        mock.runs.start()
        await mock.runs.close()
        with pytest.raises(MockError, match="ending"):
            mock.runs.submit(run, definition)

    asyncio.run(close_and_submit())
    assert list(mock.store.all(Run)) == []
    mock.store.close()


def test_only_a_run_that_waits_can_be_let_go(tmp_path):
    mock = open_mock(default_settings(tmp_path))
    run = Run(type="job", definition_id=101, definition_name="x", workspace_id=1, tenant="t")
    run.status = RunStatus.DONE
    with pytest.raises(MockError, match="DONE"):
        mock.runs.release(mock.store.add(run))
    asyncio.run(mock.runs.close())
    mock.store.close()
