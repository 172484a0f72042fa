import logging
import threading
from typing import Any

import pytest
from addressed import execute
from scripted_yeedu import Call, ScriptedYeedu

from prefect_yeedu.errors import (
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduRunLost,
    YeeduRunTimedOut,
    YeeduTransportError,
)
from prefect_yeedu.models import RunState, YeeduResult
from prefect_yeedu.runs.log_follower import LineSplitter
from prefect_yeedu.runs.remote_run import RemoteRun, RunListener
from prefect_yeedu.runs.request import RunRequest, checked_conf
from prefect_yeedu.runs.wait_options import WaitOptions

JOB = "workspace/1/spark/job"
RUN = f"{JOB}/run/9"
OPTIONS = WaitOptions(log_patience_seconds=0.3, max_poll_seconds=0.2)


class Listener(RunListener):
    def __init__(self) -> None:
        self.states: list[RunState] = []
        self.lines: list[tuple[str, str]] = []
        self.troubles: list[str] = []

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        self.states.append(state)

    def on_line(self, stream: Any, line: str) -> None:
        self.lines.append((stream, line))

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)


def run_job(yeedu: ScriptedYeedu, listener: RunListener | None = None, **options: Any) -> YeeduResult:
    request = RunRequest(**{"options": OPTIONS, **options})
    with yeedu.client() as client:
        return execute(client, request, listener)


@pytest.fixture
def job(yeedu: ScriptedYeedu) -> ScriptedYeedu:
    yeedu.on("POST", f"{JOB}/run", (200, {"run_id": 9}))
    yeedu.on("GET", RUN, (200, {"run_status": "DONE"}))
    yeedu.on("GET", f"{RUN}/log/stdout", (200, b""))
    yeedu.on("GET", f"{RUN}/log/stderr", (200, b""))
    yeedu.on("GET", f"{RUN}/workflow/errors", (200, {"data": [{"error": "executor lost"}]}))
    yeedu.on("POST", f"{JOB}/run/stop/9", (201, {}))
    return yeedu


def state(word: str) -> tuple[int, dict[str, str]]:
    return 200, {"run_status": word}


def test_a_job_is_submitted_watched_and_its_logs_returned(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("SUBMITTED"), state("RUNNING"), state("RUNNING"), state("DONE"))
    job.on("GET", f"{RUN}/log/stdout", (200, b"one\ntwo\n"))
    job.on("GET", f"{RUN}/log/stderr", (200, b"warn"))
    listener = Listener()
    result = run_job(job, listener, arguments="--day 1", conf=("spark.a=1",))
    assert (result.run_id, result.state, result.stdout, result.stderr) == (9, "DONE", "one\ntwo\n", "warn\n")
    assert listener.states == [RunState.RUNNING, RunState.DONE]
    body = job.called("POST", f"{JOB}/run")[0].body
    assert (body["job_id"], body["arguments"], body["conf"][0]) == (5, "--day 1", "spark.a=1")
    assert body["conf"][1].startswith("spark.yeedu.prefect_key=")
    assert not job.called("POST", f"{JOB}/run/stop/9")


@pytest.mark.parametrize("understands_ranges", [True, False])
def test_each_line_of_a_growing_log_is_passed_on_once(job: ScriptedYeedu, understands_ranges: bool) -> None:
    whole = "".join(f"line {number} ünïcode\n" for number in range(50)).encode()
    served = {"bytes": 0}

    def log(call: Call) -> Any:
        served["bytes"] = min(len(whole), served["bytes"] + 333)  # cuts lines and characters
        begin = int(call.headers.get("range", "bytes=0-")[6:-1])
        if understands_ranges and begin:
            if begin >= served["bytes"]:
                return 416, b""
            return 206, whole[begin : served["bytes"]]
        return 200, whole[: served["bytes"]]

    job.on("GET", f"{RUN}/log/stdout", log)
    job.on(
        "GET", RUN, *[state("RUNNING")] * 12, lambda call: served.update(bytes=len(whole)) or state("DONE")
    )
    listener = Listener()
    result = run_job(job, listener)
    assert result.stdout == whole.decode()
    assert [line for stream, line in listener.lines if stream == "stdout"] == whole.decode().splitlines()
    assert len(job.called("GET", f"{RUN}/log/stdout")) > 2


def test_a_log_that_comes_late_is_waited_for(job: ScriptedYeedu) -> None:
    job.on("GET", f"{RUN}/log/stdout", (404, {}), (200, b"late\n"))
    patient = WaitOptions(log_patience_seconds=20, max_poll_seconds=0.2)
    assert run_job(job, options=patient).stdout == "late\n"


def test_a_failed_job_says_what_yeedu_says(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("ERROR"))
    with pytest.raises(YeeduRunFailed, match=r"run 9 ended in ERROR \(executor lost\)") as caught:
        run_job(job, ui_url="http://ui.example")
    assert caught.value.run_id == 9
    assert caught.value.workflow_errors == ("executor lost",)
    assert str(caught.value.run_url).startswith("http://ui.example/tenant/")


@pytest.mark.parametrize("word", ["STOPPED", "KILLED"])
def test_a_job_stopped_by_somebody_is_not_a_success(job: ScriptedYeedu, word: str) -> None:
    job.on("GET", RUN, state(word))
    with pytest.raises(YeeduRunCancelled, match="stopped from outside"):
        run_job(job)


def runs_until_stopped(job: ScriptedYeedu) -> None:
    stop = f"{JOB}/run/stop/9"
    job.on("GET", RUN, lambda _: state("STOPPED" if job.called("POST", stop) else "RUNNING"))


def test_a_spent_budget_stops_the_remote_run(job: ScriptedYeedu) -> None:
    runs_until_stopped(job)
    with pytest.raises(YeeduRunTimedOut, match=r"within 0\.3 seconds.*It was stopped"):
        run_job(job, options=WaitOptions(timeout_seconds=0.3))
    assert len(job.called("POST", f"{JOB}/run/stop/9")) == 1


def test_an_interrupt_stops_the_remote_run_and_goes_on(job: ScriptedYeedu) -> None:
    class Interrupted(Listener):
        def on_state(self, run: RemoteRun, state: RunState) -> None:
            if state is RunState.RUNNING:
                raise KeyboardInterrupt

    runs_until_stopped(job)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, Interrupted())
    assert len(job.called("POST", f"{JOB}/run/stop/9")) == 1


def test_an_outage_while_a_job_runs_is_waited_out_without_a_second_run(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("RUNNING"), (503, {}), (0, {}), (502, b"<html>"), state("DONE"))
    listener = Listener()
    assert run_job(job, listener).state == "DONE"
    assert len(job.called("POST", f"{JOB}/run")) == 1
    assert [text.partition(",")[0] for text in listener.troubles] == [
        "Waiting for Yeedu to tell about run 9 again",
        "Yeedu tells about run 9 again.",
    ]


def test_an_outage_that_lasts_too_long_is_an_error(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, (0, {}))
    with pytest.raises(YeeduTransportError):
        run_job(job, options=WaitOptions(outage_seconds=0.5))


def test_a_session_revoked_for_good_ends_the_wait_without_secrets(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("RUNNING"), (401, {}))
    with pytest.raises(YeeduAuthenticationError):
        run_job(job)


def test_a_run_that_vanishes_is_an_error(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("RUNNING"), (404, {"error_code": "RFA-000404", "error_message": "no run"}))
    with pytest.raises(YeeduRunLost, match="does not know job run 9"):
        run_job(job, options=WaitOptions(gone_seconds=0, max_poll_seconds=0.1))


def test_a_job_waits_in_any_thread(job: ScriptedYeedu) -> None:
    job.on("GET", RUN, state("RUNNING"), state("DONE"))
    results: list[YeeduResult] = []
    thread = threading.Thread(target=lambda: results.append(run_job(job)))
    thread.start()
    thread.join()
    assert results[0].state == "DONE"


def test_lines_survive_any_cut() -> None:
    whole = "äöü\r\nzwei\n\nvier ohne Ende".encode()
    for cut in range(len(whole)):
        splitter = LineSplitter()
        lines = splitter.feed(whole[:cut]) + splitter.feed(whole[cut:]) + splitter.feed(b"", is_last=True)
        assert lines == ["äöü", "zwei", "", "vier ohne Ende"]


def test_the_last_of_equal_conf_keys_counts() -> None:
    assert checked_conf(["a=1", "b=2", " a = 3 "]) == ("b=2", "a=3")


@pytest.mark.parametrize("entry", ["a", "=1", "a=", " = "])
def test_conf_entries_are_checked(entry: str) -> None:
    with pytest.raises(YeeduConfigurationError, match="key=value"):
        checked_conf([entry])


def test_the_wait_is_silent_about_secrets(job: ScriptedYeedu, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run_job(job)
    assert "s3cr3t" not in caplog.text
