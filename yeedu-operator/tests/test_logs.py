"""A job's logs: whole through broken downloads, each line once, and a word where something is missing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted_yeedu import Answer, Call, ScriptedYeedu
from watched_run import GONE, RUN, WatchedRun, state

from prefect_yeedu.runs.log_follower import LineSplitter

WHOLE = "".join(f"line {number} ünïcode\r\n" for number in range(1000)).encode() + "kein Ende: ü".encode()
LINES = WHOLE.decode().replace("\r", "").splitlines()


@pytest.fixture
def watched(yeedu: ScriptedYeedu) -> WatchedRun:
    watched = WatchedRun(yeedu)
    watched.states(state("DONE"))
    return watched


def printed(watched: WatchedRun, stream: str = "stdout") -> list[str]:
    return [line for name, line in watched.listener.lines if name == stream]


@dataclass
class Log:
    """A log whose downloads break off after so many bytes, each time somewhere else.

    Attributes:
        content: What it holds.
        knows_ranges: Whether the server answers `Range` with that part.
        breaks_after: Bytes of the whole log after which a download breaks off; used up one by one.
    """

    content: bytes
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list[int])
    requests: list[str] = field(default_factory=list[str])

    def answer(self, call: Call) -> Answer:
        asked = call.headers.get("range", "bytes=0-")
        self.requests.append(asked)
        start = int(asked[6:-1]) if self.knows_ranges else 0
        if start and start >= len(self.content):
            return 416, b"", {"Content-Range": f"bytes */{len(self.content)}"}
        end = self.breaks_after.pop(0) if self.breaks_after else len(self.content)
        body = self.content[start:]
        headers = {"X-Break-After": str(max(0, end - start))} if end < len(self.content) else {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        return (206 if start else 200), body, headers


def serve(watched: WatchedRun, log: Log | Callable[[Call], Answer] | Answer, stream: str = "stdout") -> None:
    watched.yeedu.on("GET", f"{RUN}/log/{stream}", log.answer if isinstance(log, Log) else log)


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("breaks", [[5000], [1], [0, 0, 0], [7, 8, 9, 9000, 9001], [len(WHOLE) - 1]])
def test_a_download_that_breaks_goes_on_where_it_was(
    watched: WatchedRun, knows_ranges: bool, breaks: list[int]
) -> None:
    log = Log(WHOLE, knows_ranges, list(breaks))
    serve(watched, log)
    result = watched.wait()
    assert printed(watched) == LINES
    assert result.stdout.splitlines() == LINES
    assert result.truncated == ()
    assert len(log.requests) == len(breaks) + 1
    assert watched.listener.troubles == []


def test_what_came_before_a_break_is_asked_for_no_more(watched: WatchedRun) -> None:
    log = Log(WHOLE, breaks_after=[5000])
    serve(watched, log)
    watched.wait()
    assert log.requests == ["bytes=0-", "bytes=5000-"]


def test_a_download_that_goes_on_breaking_is_cut_with_a_sentence(watched: WatchedRun) -> None:
    serve(watched, Log(WHOLE, breaks_after=[5000] * 1000))
    result = watched.wait()
    assert result.state == "DONE"
    assert result.truncated == ("stdout",)
    sentence = "The stdout log could not be read beyond its first 5,000 bytes."
    assert result.stdout.endswith(f"\n[{sentence}]\n")
    assert result.stdout.splitlines()[:200] == LINES[:200]
    assert watched.listener.troubles == [f"{sentence} See {result.url}."]
    assert 20 < watched.clock.time <= 30


def test_both_logs_share_one_budget(watched: WatchedRun) -> None:
    serve(watched, (503, {}), "stdout")
    serve(watched, (503, {}), "stderr")
    assert watched.wait().truncated == ("stdout", "stderr")
    assert watched.clock.time <= 30


def test_a_log_that_is_refused_costs_no_wait(watched: WatchedRun) -> None:
    serve(watched, (403, {"error_code": "RFA-000403", "error_message": "no"}), "stderr")
    assert watched.wait().truncated == ("stderr",)
    assert watched.clock.time == 0


def test_logs_that_do_not_exist_are_empty_and_cost_a_second(watched: WatchedRun) -> None:
    serve(watched, GONE, "stdout")
    serve(watched, GONE, "stderr")
    result = watched.wait()
    assert (result.stdout, result.stderr, result.truncated) == ("", "", ())
    assert watched.clock.time == 1
    assert len(watched.yeedu.called("GET", f"{RUN}/log/stdout")) == 3


def test_a_log_that_is_denied_while_the_run_is_as_well_is_asked_for_again(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("DONE"), GONE, GONE, state("DONE"))
    watched.yeedu.on("GET", f"{RUN}/log/stdout", *[GONE] * 4, (200, b"all of it\n"))
    assert watched.wait(follows_logs=False).stdout == "all of it\n"


def test_a_log_that_is_denied_for_as_long_as_the_run_is_is_not_an_empty_one(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("DONE"), GONE)
    watched.yeedu.on("GET", f"{RUN}/log/stdout", GONE)
    result = watched.wait(follows_logs=False)
    assert result.truncated == ("stdout",)
    assert result.stdout == "[The stdout log could not be read beyond its first 0 bytes.]\n"
    assert 30 <= watched.clock.time < 40


def test_a_log_that_comes_a_moment_later_is_read(watched: WatchedRun) -> None:
    watched.yeedu.on("GET", f"{RUN}/log/stdout", GONE, (200, b"late\n"))
    assert watched.wait().stdout == "late\n"


def test_a_proxy_in_front_of_a_log_is_waited_for(watched: WatchedRun) -> None:
    watched.yeedu.on("GET", f"{RUN}/log/stdout", *[(404, b"<html>")] * 4, (200, b"there\n"))
    assert watched.wait().stdout == "there\n"


def test_a_log_that_vanishes_after_some_of_it_was_read_is_not_whole(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("DONE"))
    watched.yeedu.on("GET", f"{RUN}/log/stdout", (200, b"one\n"), GONE)
    result = watched.wait()
    assert result.truncated == ("stdout",)
    assert result.stdout == "one\n[The stdout log could not be read beyond its first 4 bytes.]\n"


@pytest.mark.parametrize("later", [b"two\nthree\nfour\nfive\n", b"five\n", b""])
def test_a_log_whose_start_yeedu_has_dropped_is_not_patched_together(
    watched: WatchedRun, later: bytes
) -> None:
    watched.states(state("RUNNING"), state("DONE"))
    watched.yeedu.on("GET", f"{RUN}/log/stdout", (200, b"one\ntwo\n"), (200, later))
    result = watched.wait()
    assert printed(watched) == ["one", "two"]
    assert result.truncated == ("stdout",)
    assert "Yeedu has cut the stdout log; what came after its first 8 bytes" in result.stdout


def test_a_log_that_became_shorter_is_not_whole(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("DONE"))
    shorter = (416, b"", {"Content-Range": "bytes */3"})
    watched.yeedu.on("GET", f"{RUN}/log/stdout", (200, b"one\ntwo\n"), shorter)
    assert watched.wait().truncated == ("stdout",)


def test_a_range_that_begins_earlier_than_asked_is_not_doubled(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("DONE"))
    part = (206, b"o\nthree\n", {"Content-Range": "bytes 6-13/14"})
    watched.yeedu.on("GET", f"{RUN}/log/stdout", (200, b"one\ntwo\n"), part)
    result = watched.wait()
    assert (result.stdout, result.truncated) == ("one\ntwo\nthree\n", ())


def test_a_replica_that_lags_behind_does_not_cut_the_log(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), state("RUNNING"), *[state("RUNNING")] * 20, state("DONE"))
    whole = b"one\ntwo\nthree\n"
    answers = [(200, whole[:8]), (200, whole[:4]), (200, whole)]
    watched.yeedu.on("GET", f"{RUN}/log/stdout", *answers)
    result = watched.wait()
    assert (result.stdout, result.truncated) == (whole.decode(), ())
    assert printed(watched) == ["one", "two", "three"]


def test_only_the_end_of_a_long_log_is_kept(watched: WatchedRun) -> None:
    serve(watched, Log(WHOLE))
    result = watched.wait(max_log_characters=500)
    first, *rest = result.stdout.splitlines()
    assert first == f"[The first {len(LINES) - len(rest):,} lines are left out here; Yeedu has them.]"
    assert rest == LINES[-len(rest) :]
    assert 400 < len("\n".join(rest)) <= 500
    assert result.truncated == ("stdout",)
    assert printed(watched) == LINES  # what is printed has its own limit


def test_a_failed_job_has_its_logs_read_as_well(watched: WatchedRun) -> None:
    watched.states(state("ERROR"))
    serve(watched, Log(WHOLE, breaks_after=[99]))
    with pytest.raises(Exception, match="ended in ERROR"):
        watched.wait()
    assert printed(watched) == LINES


def test_a_progress_bar_in_a_log_is_shown_now_and_then(watched: WatchedRun) -> None:
    def bar(call: Call) -> Answer:
        return 200, "".join(f"\r{n:3} %" for n in range(int(watched.clock.time))).encode()

    watched.states(lambda _: state("RUNNING" if watched.clock.time < 90 else "DONE"))
    serve(watched, bar, "stderr")
    watched.wait()
    shown = printed(watched, "stderr")
    assert 3 < len(shown) < 30
    assert all("\r" not in line for line in shown[:-1])


def test_a_stop_is_noticed_in_the_midst_of_a_long_log(watched: WatchedRun) -> None:
    watched.ends_when_stopped()
    serve(watched, Log(b"x\n" * 100_000))

    def first_line(stream: Any, line: str) -> None:
        watched.listener.lines.append((stream, line))
        watched.listener.reason = "the flow run is Cancelling"

    watched.listener.on_line = first_line
    with pytest.raises(Exception, match="It was stopped"):
        watched.wait()
    assert len(watched.listener.lines) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 1_000_000])
def test_lines_are_the_same_whatever_the_pieces(size: int) -> None:
    splitter = LineSplitter()
    lines = [
        line for start in range(0, len(WHOLE), size) for line in splitter.feed(WHOLE[start : start + size])
    ]
    assert lines + splitter.feed(b"", is_last=True) == LINES


def test_a_long_line_in_tiny_pieces_takes_linear_time() -> None:
    splitter = LineSplitter()
    began_at = time.process_time()
    lines = [line for _ in range(200_000) for line in splitter.feed(b"0123456789")]
    lines += splitter.feed(b"", is_last=True)
    assert time.process_time() - began_at < 5
    assert "".join(lines) == "0123456789" * 200_000
    assert max(map(len, lines)) <= 64 * 1024
