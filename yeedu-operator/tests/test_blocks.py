"""Blocks and tasks, on a real Prefect server with the mock Yeedu."""

import asyncio
import io
import os
import re
import subprocess
import sys
import time
import urllib.request
import urllib.response
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mock_yeedu import MockYeedu
from PIL import Image
from prefect import flow
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect.utilities.dispatch import get_registry_for_type
from prefect_blocks import credentials
from scripted_yeedu import TENANT

from prefect_yeedu import (
    RunState,
    YeeduConfigurationError,
    YeeduCredentials,
    YeeduJob,
    YeeduNotebook,
    YeeduNotFound,
    YeeduRunCancelled,
    YeeduRunError,
    YeeduRunFailed,
    arun_yeedu_job,
    arun_yeedu_notebook,
    run_yeedu_job,
    run_yeedu_notebook,
)

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


ROOT = Path(__file__).parents[2]


class PicturesOfGitHub(urllib.request.HTTPSHandler):  # takes the place of the one that would connect
    """Answers as github.com does for an account's picture: with a square of the size that is asked for."""

    def https_open(self, request: urllib.request.Request) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        match = re.fullmatch(r"https://github\.com/[\w-]+\.png\?size=(\d+)", request.full_url)
        assert match, request.full_url
        body = io.BytesIO()
        Image.new("RGB", (int(match[1]), int(match[1]))).save(body, "PNG")
        body.seek(0)
        answer = urllib.response.addinfourl(body, {"Content-Type": "image/png"}, request.full_url, 200)
        answer.msg = "OK"  # pyright: ignore[reportAttributeAccessIssue]
        return answer


@pytest.fixture
def _pictures() -> Iterator[None]:
    urllib.request.install_opener(urllib.request.build_opener(PicturesOfGitHub))
    yield
    urllib.request.install_opener(urllib.request.build_opener())


@pytest.mark.usefixtures("_pictures")
@pytest.mark.parametrize("block", [YeeduCredentials, YeeduJob, YeeduNotebook])
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block


@pytest.mark.parametrize("block", [YeeduCredentials, YeeduJob, YeeduNotebook])
def test_a_block_s_documentation_is_this_repository_s_page(block: type[Block]) -> None:
    home, _, page = str(block._documentation_url).partition("/blob/main/")
    assert f"git clone {home}.git" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / page).is_file()


@pytest.mark.parametrize("module", ["prefect_yeedu", "prefect_yeedu.job_blocks", "prefect_yeedu.credentials"])
def test_registering_a_module_registers_no_stray_type(module: str) -> None:
    command = [Path(sys.executable).with_name("prefect"), "block", "register", "-m", module]
    with get_client(sync_client=True) as client:
        environment = {**os.environ, "PREFECT_API_URL": str(client.api_url)}
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    registered = set(re.findall(r"(?m)^[│|] (\S.*?) +[│|]$", answer.stdout))
    assert registered - {"Registered Blocks"} <= {"Yeedu Credentials", "Yeedu Job", "Yeedu Notebook"}
    assert "Yeedu Credentials" in registered


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


ADDRESS = "https://yeedu.example:8080/tenant/T/workspace/1/"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"job_url": "nonsense"}, "'nonsense' is not a Yeedu URL: it does not begin with http"),
        (
            {"job_url": f"{ADDRESS}notebook/7"},
            "not one of a job; run_yeedu_notebook and YeeduNotebook take it",
        ),
        ({"job_url": "https://yeedu.example:8080/healthCheck"}, "not one of a job: give the job's own"),
        ({}, "takes either job_url, the job's address, or job, its id or name; neither is filled in"),
        ({"job_url": f"{ADDRESS}job/5", "job": 5}, "both is filled in"),
        ({"job": 5}, "'5' is named without its workspace"),
        ({"job": 0, "workspace": 1}, "'0' is neither the id nor the name of a job"),
        ({"job": 5, "workspace": 1}, "has no host and tenant"),
        ({"job_url": f"{ADDRESS}job/5", "timeout_seconds": -1}, "a time is more than 0 seconds"),
        ({"job_url": f"{ADDRESS}job/5", "conf": ["x"]}, "not of the form key=value"),
    ],
)
def test_a_job_that_could_not_be_triggered_is_refused_in_one_sentence(
    fields: dict[str, Any], sentence: str
) -> None:
    who = YeeduCredentials(username="demo", password="secret-of-demo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(YeeduConfigurationError) as caught:
        YeeduJob(credentials=who, **fields)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "neither a token nor both a username and a password"),
        ({"username": "demo"}, "neither a token nor both"),
        ({"token": ""}, "neither a token nor both"),
        ({"token": "t-secret", "host": "https://yeedu.example:8080"}, "has a host but no tenant"),
        ({"token": "t-secret", "tenant": "T"}, "has a tenant but no host"),
        ({"token": "t-secret", "host": "nonsense", "tenant": "T"}, "'nonsense' is not a Yeedu URL"),
        ({"token": "t-secret", "host": f"{ADDRESS}job/5", "tenant": "T"}, "leave out what follows"),
    ],
)
def test_credentials_that_cannot_log_in_are_refused_in_one_sentence(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(YeeduConfigurationError) as caught:
        YeeduCredentials(**fields)
    assert sentence in str(caught.value)
    assert "t-secret" not in str(caught.value)


def test_a_wrong_type_of_field_shows_no_secret() -> None:
    with pytest.raises(ValueError, match="verify_ssl") as caught:
        YeeduCredentials(username="demo", password="s3cret-of-demo", verify_ssl="perhaps")  # pyright: ignore[reportArgumentType]
    assert "s3cret-of-demo" not in str(caught.value)


def test_blocks_that_were_saved_before_there_was_a_host_load_and_run(mock: MockYeedu) -> None:
    fields = {"username": "demo", "password": mock.password, "token": None, "verify_ssl": True}
    old = {
        "credentials": {**fields, "ssl_cert_file": None},
        "arguments": None,
        "conf": [],
        "timeout_seconds": None,
        "generation": "v2",
        "ui_url": None,
        "job_url": mock.url("job/101"),
    }
    run = YeeduJob.model_validate(old).trigger()
    run.wait_for_completion()
    assert run.fetch_result().state == "DONE"


def test_a_block_with_certificates_that_it_does_not_check_says_so_and_works(
    mock: MockYeedu, caplog: pytest.LogCaptureFixture
) -> None:
    who = YeeduCredentials(
        username="demo",
        password=mock.password,  # pyright: ignore[reportArgumentType]
        verify_ssl=False,
        ssl_cert_file="/nowhere.pem",
    )
    assert "names an ssl_cert_file, but verify_ssl is false" in caplog.text
    with who.get_client(mock.url("job/101")) as client:
        assert client.check_health()["message"] == "OK"


def test_a_saved_block_without_a_username_loads_and_is_refused_when_it_is_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    who = {"username": "", "password": "s3cret", "token": None, "block_type_slug": "yeedu-credentials"}
    block = YeeduJob.model_validate({"credentials": who, "job_url": f"{ADDRESS}job/5"})
    assert "neither a token nor both a username and a password" in caplog.text
    with pytest.raises(YeeduConfigurationError, match="neither a token nor both"):
        block.trigger()
    assert "s3cret" not in caplog.text


def with_host(mock: MockYeedu) -> YeeduCredentials:
    return YeeduCredentials(
        host=mock.base,
        tenant=TENANT,
        username="demo",
        password=mock.password,  # pyright: ignore[reportArgumentType]
    )


def test_with_a_host_a_client_needs_no_address(mock: MockYeedu) -> None:
    with with_host(mock).get_client() as client:
        assert client.check_health()["message"] == "OK"
        names = [job["job_name"] for job in client.jobs.list(1)]
        assert client.jobs.read(1, names[0])["job_name"] == names[0]
        assert client.notebooks.read(1, 201)["notebook_id"] == 201
        assert client.notebooks.list(12345) == []
        run_id = client.jobs.run(1, 101)
        found = client.get_object(f"workspace/1/spark/job/run/{run_id}", "about a run")
        assert found["job_id"] == 101
    with pytest.raises(YeeduConfigurationError, match="no host and tenant"):
        credentials(mock).get_client()


@pytest.mark.parametrize("how", ["id", "text", "name", "address"])
def test_a_job_is_named_by_its_id_its_name_or_its_address(mock: MockYeedu, how: str) -> None:
    job = mock.control("POST", "jobs", json={"name": f"named by {how}", "program": "print('it')"})["job_id"]
    which = {"id": job, "text": str(job), "name": f"named by {how}", "address": mock.url(f"job/{job}")}[how]
    made = YeeduJob(credentials=with_host(mock), job=which, workspace=1)
    made.save(f"by-{how}", overwrite=True)
    run = YeeduJob.load(f"by-{how}").trigger()
    run.wait_for_completion()
    assert "it" in run.fetch_result().stdout


def test_a_notebook_is_named_by_its_name_and_an_unknown_name_is_said(mock: MockYeedu) -> None:
    made = mock.control("POST", "notebooks", json={"name": "the named one", "cells": ["1 + 1"]})
    who = with_host(mock)
    result = run_yeedu_notebook.fn("the named one", who, workspace=1)
    assert f"/run/{result.run_id}/" in result.url
    assert made["notebook_id"]
    with pytest.raises(YeeduNotFound, match="no notebook 'no such one' in workspace 1"):
        run_yeedu_notebook.fn("no such one", who, workspace=1)


def test_a_run_shows_its_state_its_logs_and_stops_when_it_is_told_to(mock: MockYeedu) -> None:
    program = "import time\nprint('begun')\nprint('and more')\ntime.sleep(600)"
    job = mock.control("POST", "jobs", json={"program": program})["job_id"]
    run = YeeduJob(credentials=with_host(mock), job=job, workspace=1).trigger()
    deadline = time.monotonic() + 100
    while "and more" not in run.logs():
        assert time.monotonic() < deadline
    assert run.status() is RunState.RUNNING
    assert run.logs(last_lines=1) == "and more\n"
    assert run.cancel()
    assert run.status() is RunState.STOPPED
    run.wait_for_completion()
    with pytest.raises(YeeduRunCancelled):
        run.fetch_result()


def test_in_async_code_each_of_them_is_awaited(mock: MockYeedu) -> None:
    program = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
    job = mock.control("POST", "jobs", json={"program": program})["job_id"]

    @flow
    async def caller() -> tuple[Any, Any]:
        run = await YeeduJob(credentials=with_host(mock), job=job, workspace=1).atrigger()
        while "begun" not in await run.alogs():
            await asyncio.sleep(0.05)
        before = await run.astatus()
        assert await run.acancel()
        status: Any = run.status()
        return before, await status

    assert asyncio.run(caller()) == (RunState.RUNNING, RunState.STOPPED)


def test_a_task_refuses_the_other_kind_s_address(mock: MockYeedu) -> None:
    with pytest.raises(YeeduConfigurationError, match="run_yeedu_notebook and YeeduNotebook take it"):
        run_yeedu_job.fn(mock.url("notebook/201"), credentials(mock))
    with pytest.raises(YeeduConfigurationError, match="run_yeedu_job and YeeduJob take it"):
        run_yeedu_notebook.fn(mock.url("job/101"), credentials(mock))


def test_the_async_tasks_run_side_by_side(mock: MockYeedu) -> None:
    @flow
    async def caller() -> list[str]:
        who = with_host(mock)
        both = arun_yeedu_job(101, who, workspace=1), arun_yeedu_notebook(mock.url("notebook/201"), who)
        return [result.state for result in await asyncio.gather(*both)]

    assert asyncio.run(caller()) == ["DONE", "STOPPED"]


def test_the_tasks_return_the_result(mock: MockYeedu) -> None:
    @flow
    def caller() -> tuple[str, str]:
        who = credentials(mock)
        job = run_yeedu_job.submit(mock.url("job/101"), who)
        notebook = run_yeedu_notebook.submit(mock.url("notebook/201"), who)
        return job.result().state, notebook.result().state

    assert caller() == ("DONE", "STOPPED")
