"""A failure that would end docket's worker has it begin again."""

import asyncio
import logging
from datetime import timedelta

import background_worker
import pytest


class Worker:
    """What docket's has."""

    redelivery_timeout = timedelta(minutes=5)


def test_worker_begins_again_after_any_failure_and_ends_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_worker, "PAUSE_SECONDS", 0)
    logging.getLogger("prefect.server.background").addHandler(caplog.handler)
    failures = [ExceptionGroup("of tasks", [ValueError("the stream is gone")]), TimeoutError()]
    begun: list[object] = []

    async def run_forever(worker: Worker) -> None:
        begun.append(worker.redelivery_timeout)
        if failures:
            raise failures.pop(0)

    asyncio.run(background_worker.working_on(run_forever)(Worker()))
    assert begun == [background_worker.REDELIVERY] * 3
    assert "Background work failed; restarting it: ValueError: the stream is gone" in caplog.text


def test_worker_that_is_cancelled_stays_so() -> None:
    async def run_forever(_: object) -> None:
        await asyncio.Event().wait()

    async def cancel() -> bool:
        working = asyncio.ensure_future(background_worker.working_on(run_forever)(Worker()))
        await asyncio.sleep(0)
        working.cancel()
        done, _ = await asyncio.wait([working], timeout=5)
        return bool(done) and working.cancelled()

    assert asyncio.run(cancel())
