"""Runs a notebook once, with cells of our own: its kernel, the websocket, and how it is killed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from contract.kernel import Kernel, connect
from contract.probes.started_run import POLL_SECONDS, START_SECONDS, Started, start
from contract.scan import ENDED

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import JsonObject

READY = frozenset({"idle", "busy", "starting"})
READY_SECONDS = 300.0
CELL_SECONDS = 60.0
PAUSE_SECONDS = 1.0
CLOSE_SECONDS = 30.0
UNESCAPED = "/:@!$&'()*+,;=-._~"
KILL_KEYS = {"stop": "kill", "prompt": "kill-prompt", "state": "kill-state", "again": "kill-again"}


def run_a_notebook(scan: Scan) -> None:
    """Start the notebook that was named, send it three cells, and kill it; its own cells are not run."""
    notebook = scan.settings.place.notebook
    if notebook is None:
        return
    run = start(scan, "notebook", notebook, "nb-submit", [])
    if run is None:
        return
    kernel: Kernel | None = None
    try:
        if run.wait_for(ENDED | {"RUNNING"}, START_SECONDS) == "RUNNING" and _is_ready(run):
            kernel = _probe_the_kernel(run)
        run.stop(KILL_KEYS)
        if kernel is not None:
            _probe_the_end(scan, kernel)
    finally:
        if kernel is not None:
            kernel.close()
        run.make_sure_it_ends()


def _is_ready(run: Started) -> bool:
    """Ask for the kernel until it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    asked = 1
    while (is_ready := _kernel_status(run) in READY) is False and time.monotonic() < deadline:
        asked += 1
        time.sleep(POLL_SECONDS)
    seen = f"at question {asked}" if is_ready else f"not within {READY_SECONDS:.0f} s"
    run.scan.findings.note("kernel-ready", is_ready and asked == 1, seen)
    return is_ready


def _kernel_status(run: Started) -> str:
    answer = run.scan.server.workspace("POST", f"{_kernel_path(run)}/startOrGetStatus")
    info = answer.fields.get("kernel_info")
    status = cast("JsonObject", info).get("kernel_status") if isinstance(info, dict) else None
    return status.lower() if isinstance(status, str) else ""


def _probe_the_kernel(run: Started) -> Kernel | None:
    """Open its websocket in both ways, and send a cell; return what is open at the end."""
    scan, path, token = run.scan, _kernel_path(run), run.scan.server.token or ""
    answer = scan.server.workspace("GET", f"{path}/ws", params={"yeedu_session": token})
    scan.findings.note("kernel-answer", answer.status == 200 and bool(answer.fields))
    place = scan.server.place
    address = f"{place.base_url.replace('http', 'ws', 1)}/api/v1/workspace/{place.workspace}"
    with_token = f"{address}/{path}/ws/yeedu_session/{quote(token, safe=UNESCAPED)}"
    kernel = connect(with_token, scan.server.context)
    scan.findings.note("token-in-path", kernel is not None)
    in_header = connect(f"{address}/{path}/ws", scan.server.context, token)
    scan.findings.note("token-in-header", in_header is not None)
    if kernel is None:
        return in_header
    if in_header is not None:
        in_header.close()
    cell = kernel.send("print(6 * 7)")
    ended = kernel.finish(cell, CELL_SECONDS)
    ends = kernel.ends_of(cell)
    scan.findings.note("cell-ends", ended, " before ".join(dict.fromkeys(ends)) or "neither")
    scan.findings.note("cell-order", ends.index("reply") < ends.index("idle") if ended else None)
    repeated = kernel.repeated()
    scan.findings.note("message-once", not repeated, f"{repeated} came again" if repeated else "")
    return _probe_a_gap(run, kernel, with_token, kernel.count_of(cell))


def _probe_a_gap(run: Started, kernel: Kernel, address: str, executed: int | None) -> Kernel | None:
    """Leave while a cell runs, and come back after it; return the new connection."""
    scan = run.scan
    cell = kernel.send(f"import time; time.sleep({PAUSE_SECONDS}); print(6 * 7)")
    time.sleep(PAUSE_SECONDS / 4)
    kernel.close()
    time.sleep(2 * PAUSE_SECONDS)
    deadline = time.monotonic() + CELL_SECONDS
    while _kernel_status(run) == "busy" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    again = connect(address, scan.server.context)
    if again is None:
        scan.findings.note("kernel-stays", False, "it cannot be reached again")
        return None
    is_kept = again.finish(cell, PAUSE_SECONDS)
    scan.findings.note("kernel-keeps", is_kept)
    last = again.send("print(6 * 7)")
    ended = again.finish(last, CELL_SECONDS)
    count = again.count_of(last)
    if ended and executed is not None and count is not None:
        scan.findings.note("kernel-stays", count > executed)
    else:
        scan.findings.note("kernel-stays", False, "it does not answer")
    return again


def _probe_the_end(scan: Scan, kernel: Kernel) -> None:
    """Read what is left, to the code with which the websocket is closed."""
    deadline = time.monotonic() + CLOSE_SECONDS
    while kernel.receive(deadline - time.monotonic()) and time.monotonic() < deadline:
        pass
    seen = kernel.close_code or "it is not closed, or without a code"
    scan.findings.note("close-code", kernel.close_code == 1000, seen)


def _kernel_path(run: Started) -> str:
    return f"{run.scan.routes['notebook'].run.format(run=run.run_id)}/kernel"
