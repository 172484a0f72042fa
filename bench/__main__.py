"""Runs the benchmarks, all by default: ``python -m bench [--compare FILE] [NAME ...]``.

Writes the results to ``bench/results.json``, and draws them into ``bench/results.png``. With ``--compare``,
it prints what differs from an earlier ``results.json``; without a name, it then measures nothing.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from bench import calls, compare, operator_overhead, run_start, scale, schedules, startup, throughput
from bench.machine import machine
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
# The named ones of one form share a platform.
_OF_FORM = {
    "compose": list(_ON_A_PLATFORM),
    "local": [f"{name}-local" for name in ("start", "throughput", "schedules")],
}


RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the named benchmarks, print each table, and write the figures."""
    known = [*_ALONE, *_OF_FORM["compose"], *_OF_FORM["local"]]
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier results.json")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    given = parser.parse_args()
    earlier = _read(given.compare) if given.compare else None
    by_default = [] if earlier else [name for name in known if name not in _WHEN_NAMED]
    names = given.names or by_default
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"bench: no benchmark is named {', '.join(unknown)}; there is {', '.join(known)}")
    if names:
        _measure(names)
    if earlier:
        print(compare.report(earlier, _read(RESULTS)))


def _measure(names: list[str]) -> None:
    results = _read(RESULTS) if RESULTS.exists() else {}
    results["machine"] = machine()

    def keep(name: str, figures: Any, table: Callable[[Any], str]) -> None:
        results[name] = figures
        RESULTS.write_text(json.dumps(results, indent=2), encoding="utf-8")
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
    draw(results, RESULTS.with_suffix(".png"))
    if "peers" in results:
        draw_peers(results["peers"], RESULTS.with_name("results.peers.png"))
    print(results["machine"])


def _read(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"bench: {file} cannot be read: {error.strerror}")
    except ValueError as error:
        sys.exit(f"bench: {file} is not the JSON of an earlier results.json: {error}")
    if not isinstance(results, dict):
        sys.exit(f"bench: {file} is not an earlier results.json: it holds no object")
    return cast("dict[str, Any]", results)


if __name__ == "__main__":
    main()
