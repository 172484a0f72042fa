"""Measures one peer after another, each started fresh and removed before the next: ``make bench ARGS=peers``.

``PEERS="airflow dagster"`` in the environment measures only these, and keeps the others' earlier figures.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.peers import workloads
from bench.peers.airflow import Airflow
from bench.peers.celery import Celery
from bench.peers.dagster import Dagster
from bench.peers.dbos import Dbos
from bench.peers.ours import Ours
from bench.peers.peer import Peer
from bench.peers.restate import Restate
from bench.peers.stock_prefect import StockPrefect

PEERS: tuple[type[Peer], ...] = (Ours, StockPrefect, Airflow, Dagster, Celery, Dbos, Restate)
_RESULTS = Path(__file__).parents[1] / "results.json"


def measure() -> dict[str, workloads.Figures]:
    """Return the figures of each peer by its key; those not measured in this run are from an earlier one."""
    known = [peer.key for peer in PEERS]
    wanted = os.environ.get("PEERS", "").split() or known
    unknown = set(wanted) - set(known)
    if unknown:
        sys.exit(f"bench: no peer is named {', '.join(unknown)}; there is {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))  # so that all peers end as well
    for kind in PEERS:
        if kind.key in wanted:
            _keep(kind.key, _measured(kind))
    return _kept()["peers"]


def _kept() -> dict[str, Any]:
    return json.loads(_RESULTS.read_text(encoding="utf-8")) if _RESULTS.exists() else {}


def _keep(key: str, figures: workloads.Figures) -> None:
    """Write a peer's figures at once: the next peer may take long, or end the benchmark."""
    results = _kept()
    peers = results.get("peers", {}) | {key: figures}
    results["peers"] = {kind.key: peers[kind.key] for kind in PEERS if kind.key in peers}
    _RESULTS.write_text(json.dumps(results, indent=2), encoding="utf-8")


def _measured(kind: type[Peer]) -> workloads.Figures:
    with TemporaryDirectory(prefix="yeedu-peer-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        (folder / "marks").mkdir()
        peer = kind(folder)
        print(f"{peer.name}: starting", flush=True)
        began = time.monotonic()
        try:
            peer.start()
            print(f"{peer.name}: started after {time.monotonic() - began:.0f} s", flush=True)
            return workloads.measure(peer)
        except Exception as error:  # noqa: BLE001 - it is reported, and the others are still measured
            print(f"{peer.name}: {error}\n{_logs(folder)}", flush=True)
            return {"name": peer.name, "failed": workloads.reason(error)}
        finally:
            peer.stop()


def _logs(folder: Path) -> str:
    """Return the last lines of each process's output."""
    return "\n".join(
        "\n".join([f"--- {log.name}", *log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]])
        for log in sorted(folder.glob("*.log"))
    )
