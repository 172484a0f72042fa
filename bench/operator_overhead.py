"""Measures the operator's overhead: the published one's and this one's, on one mock, in one run."""

import json
import shutil
import statistics
import sys
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from tests.conformance.client_process import run_client
from tests.conformance.clients import PREFECT_YEEDU_OPERATOR
from tests.conformance.mock_process import MockProcess, mock_process
from tests.environments import environment_of

SCRIPT = Path(__file__).with_name("timed_flows.py")
TIMES_PUBLISHED, TIMES_OURS = 2, 6  # the published one needs three quarters of a minute for a notebook

JOB_SECONDS = 2.0
CELL_SECONDS = 0.1
CELLS = 3

Seconds = dict[str, list[float]]


def _add_work(mock: MockProcess) -> tuple[int, int]:
    """Give the mock a job and a notebook of known length, and return their ids."""
    job = {"name": "two-seconds", "program": f"import time; time.sleep({JOB_SECONDS}); print('done')"}
    code = f"import time; time.sleep({CELL_SECONDS}); print('done')"
    cells = [
        {"cell_type": "code", "cell_uuid": str(uuid.uuid4()), "source": code, "metadata": {}, "outputs": []}
        for _ in range(CELLS)
    ]
    answers = [
        requests.post(f"{mock.url}/_control/{kind}", json=body, timeout=30)
        for kind, body in (("jobs", job), ("notebooks", {"name": "three-cells", "cells": cells}))
    ]
    for answer in answers:
        answer.raise_for_status()
    return answers[0].json()["job_id"], answers[1].json()["notebook_id"]


def _run(
    mock: MockProcess, folder: Path, python: Path, home: Path | None, urls: dict[str, str], times: int
) -> Seconds:
    folder.mkdir()
    prefect_home = folder / "prefect"
    if home:
        shutil.copytree(home, prefect_home)
    report = folder / "report.json"
    pairs = [f"{name}={url}" for name, url in urls.items()]
    ended = run_client(
        [str(python), "-I", str(SCRIPT), str(times), str(report), *pairs],
        folder,
        PREFECT_HOME=str(prefect_home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        PREFECT_LOGGING_TO_API_ENABLED="false",  # the published operator logs its token
        DO_NOT_TRACK="1",
        YEEDU_USERNAME=mock.username,
        YEEDU_PASSWORD=mock.password,
    )
    if ended.exit_code:
        raise RuntimeError(f"{python} ended with {ended.exit_code}:\n{ended.output}")
    return json.loads(report.read_text(encoding="utf-8"))


def measure() -> dict[str, dict[str, Any]]:
    """Return, for each kind of work, the seconds of the published operator, of this one, and of the work."""
    print("making the published operator's environment", flush=True)
    published = environment_of(PREFECT_YEEDU_OPERATOR)
    with TemporaryDirectory() as scratch, mock_process(Path(scratch)) as mock:
        job, notebook = _add_work(mock)
        workspace = f"{mock.url}/tenant/{mock.tenant}/workspace/1/spark"
        print(
            f"running each {TIMES_PUBLISHED} and {TIMES_OURS} times, after one that does not count",
            flush=True,
        )
        theirs = _run(
            mock,
            Path(scratch) / "published",
            published / "bin" / "python",
            published / "home",
            {"job": mock.job_conf_url(job), "notebook": f"{workspace}/notebook/{notebook}"},
            TIMES_PUBLISHED,
        )
        ours = _run(
            mock,
            Path(scratch) / "ours",
            Path(sys.executable),
            None,
            {"job": f"{workspace}/job/{job}", "notebook": f"{workspace}/notebook/{notebook}"},
            TIMES_OURS,
        )
    work = {"job": JOB_SECONDS, "notebook": CELLS * CELL_SECONDS}
    return {
        kind: {
            "work_seconds": work[kind],
            "published_seconds": theirs[kind],
            "this_seconds": ours[kind],
        }
        for kind in work
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the medians as a Markdown table."""
    lines = [
        "| work | published operator 1.0.8 | this operator | overhead, times less |",
        "| --- | --- | --- | --- |",
    ]
    names = {
        "job": f"a job of {JOB_SECONDS} s",
        "notebook": f"a notebook of {CELLS} cells of {CELL_SECONDS} s",
    }
    for kind, row in results.items():
        work = row["work_seconds"]
        theirs, ours = statistics.median(row["published_seconds"]), statistics.median(row["this_seconds"])
        ratio = (theirs - work) / max(ours - work, 0.001)
        lines.append(f"| {names[kind]} | {theirs:.2f} s | {ours:.2f} s | {ratio:.0f} |")
    return "\n".join(lines)
