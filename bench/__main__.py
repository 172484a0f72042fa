"""Runs the benchmarks, all by default, and keeps their results: ``python -m bench [NAME ...]``.

Writes ``bench/results.json``, and draws it into ``bench/results.png``.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import calls, operator_overhead, run_start, scale, schedules, startup, throughput
from bench.peers import measuring as peers
from bench.peers.plot import draw as draw_peers
from bench.peers.table import table as peers_table
from bench.plot import draw
from bench.workers import Workers, running_workers

_ALONE: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
    "calls": (calls.measure, calls.table),
    "operator": (operator_overhead.measure, operator_overhead.table),
    "up": (startup.measure, startup.table),
    "up-local": (startup.measure_local, startup.table),
    "scale": (scale.measure, scale.table),
    "peers": (peers.measure, peers_table),
}
_WHEN_NAMED = {"peers"}  # installs other projects' programs, and takes most of an hour


def _few_schedules(workers: Workers) -> schedules.Figures:
    return {str(count): schedules.measure(workers, count, 60) for count in workers.ticks_in_a_minute}


def _many_schedules(workers: Workers) -> schedules.Figures:
    return {"500": schedules.measure(workers, 500, 300)}


_ON_A_PLATFORM: dict[str, tuple[Callable[[Workers], Any], Callable[[Any], str]]] = {
    "start": (run_start.measure, run_start.table),
    "throughput": (throughput.measure, throughput.table),
    "schedules": (_few_schedules, schedules.table),
    "schedules-500": (_many_schedules, schedules.table),
}
# Those of one form share a platform, for as many as are named.
_OF_FORM = {
    "compose": list(_ON_A_PLATFORM),
    "local": [f"{name}-local" for name in ("start", "throughput", "schedules")],
}


def main() -> None:
    """Run what is named, print each table, and keep the figures."""
    known = [*_ALONE, *_OF_FORM["compose"], *_OF_FORM["local"]]
    names = sys.argv[1:] or [name for name in known if name not in _WHEN_NAMED]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"bench: no benchmark is named {', '.join(unknown)}; there is {', '.join(known)}")
    file = Path(__file__).with_name("results.json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results["machine"] = platform.platform()

    def keep(name: str, figures: Any, table: Callable[[Any], str]) -> None:
        results[name] = figures
        file.write_text(json.dumps(results, indent=2), encoding="utf-8")
        print(f"\n{table(figures)}\n", flush=True)

    for name in names:
        if name in _ALONE:
            measure, table = _ALONE[name]
            keep(name, measure(), table)
    for form, parts in _OF_FORM.items():
        wanted = [name for name in names if name in parts]
        if wanted:
            with running_workers(form) as workers:
                for name in wanted:
                    measure_on, table = _ON_A_PLATFORM[name.removesuffix("-local")]
                    keep(name, measure_on(workers), table)
    draw(results, file.with_suffix(".png"))
    if "peers" in results:
        draw_peers(results["peers"], file.with_name("results.peers.png"))


if __name__ == "__main__":
    main()
