"""The logs of earlier runs: whole, from a byte on, and empty ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract.scan import described
from contract.server import BODY_BYTES

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import Answer, JsonObject

OK, PARTIAL, NOT_FOUND, NOT_SATISFIABLE = 200, 206, 404, 416
RUNS = 5
STREAMS = ("stdout", "stderr")


def probe_logs(scan: Scan) -> None:
    """Read the logs of the latest jobs that have ended."""
    field = scan.routes["job"].state_field
    # Those that ended by themselves first: one that was stopped may have had no time to print.
    ended = sorted(scan.ended("job"), key=lambda run: run.get(field) not in {"DONE", "ERROR"})[:RUNS]
    if not ended:
        return
    answers = {stream: [(run, _log(scan, run, stream)) for run in ended] for stream in STREAMS}
    full = [
        (run, stream, answer)
        for stream, read in answers.items()
        for run, answer in read
        if answer.status == OK and 0 < len(answer.content) < BODY_BYTES
    ]
    scan.expect("log", full[0][2] if full else answers["stdout"][0][1], OK)
    _probe_streams(scan, {stream: [answer for _, answer in read] for stream, read in answers.items()})
    if full:
        _probe_parts(scan, *max(full, key=lambda one: len(one[2].content)))
    else:
        scan.findings.notes.append(
            "The latest jobs have empty logs; run one that prints something to see more."
        )
    failed = [run for run in ended if run.get(field) == "ERROR"] or ended
    if scan.is_newer:
        path = f"{scan.routes['job'].run.format(run=_id(scan, failed[0]))}/workflow/errors"
        scan.expect("workflow-errors", scan.server.workspace("GET", path), OK)


def _probe_streams(scan: Scan, answers: dict[str, list[Answer]]) -> None:
    """Tell a log that is missing from one that is empty: the latter's stream is there for another run."""
    missing = [stream for stream, read in answers.items() if all(one.status != OK for one in read)]
    refused = [one for read in answers.values() for one in read if one.status == NOT_FOUND]
    what = ", ".join(f"{stream}: {described(answers[stream][0])}" for stream in missing)
    scan.findings.note("log-streams", not missing, what)
    empty = [one for read in answers.values() for one in read if one.status == OK and not one.content]
    hidden = [
        one for stream, read in answers.items() if stream not in missing for one in read if one in refused
    ]
    if empty or hidden:
        scan.expect("log-empty", (hidden or empty)[0], OK)
    else:
        scan.findings.note("log-empty", None, "no log is known to be empty")


def _probe_parts(scan: Scan, run: JsonObject, stream: str, whole: Answer) -> None:
    """Ask for all but the first byte of a log, for what is behind its end, and for its last line."""
    scan.findings.note("log-file", "Content-Disposition" in whole.headers)
    size = len(whole.content)
    if size > 1:
        part = _log(scan, run, stream, headers={"Range": f"bytes={size - 1}-"})
        is_part = part.status == PARTIAL and part.content == whole.content[-1:]
        scan.findings.note("log-range", is_part, "" if is_part else described(part))
    behind = _log(scan, run, stream, headers={"Range": f"bytes={size}-"})
    if scan.findings["log-range"].verdict == "yes":
        scan.expect("log-end", behind, NOT_SATISFIABLE)
    else:
        scan.findings.note("log-end", None, "it knows no ranges")
    if whole.content.rstrip(b"\n").count(b"\n"):
        tail = _log(scan, run, stream, params={"last_n_lines": 1})
        scan.findings.note("log-tail", len(tail.content) < size and whole.content.endswith(tail.content))
    else:
        scan.findings.note("log-tail", None, "the log has one line")


def _log(scan: Scan, run: JsonObject, stream: str, **arguments: dict[str, object]) -> Answer:
    path = f"{scan.routes['job'].run.format(run=_id(scan, run))}/log/{stream}"
    headers = {"accept": "*/*", **arguments.get("headers", {})}
    return scan.server.workspace("GET", path, headers=headers, params=arguments.get("params"))


def _id(scan: Scan, run: JsonObject) -> object:
    return run.get(scan.routes["job"].run_field)
