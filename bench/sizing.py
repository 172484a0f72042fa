"""Computes what a platform for a given load needs: ``python -m bench.sizing --runs 100 --seconds 60``.

It multiplies what `bench.scale` measured (``bench/costs.json``) by the load, and leaves room for its peaks.
Needs only the standard library.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COSTS = Path(__file__).with_name("costs.json")
# Services whose cost grows with the runs. A Python process among these uses at most one core.
SERVICES = (
    "proxy",
    "server",
    "services",
    "redis",
    "postgres",
    "worker",
    "rescue",
    "yeedu-watch",
    "yeedu-mock",
)
BUSY = 0.7  # the mean share of a core in use, so that a peak of 40% more still fits
MOST_SERVERS = 8  # docs/scale.md
_MINUTE, _DAY_MINUTES = 60, 24 * 60
ALONE, _SEVERAL = "alone", "1"
_MOCK = "yeedu-mock"  # stands in for Yeedu, which is another system


@dataclass(frozen=True)
class Load:
    """The load on a platform.

    Attributes:
        runs: Flow runs a minute, on average in a busy hour.
        seconds: The duration of each.
        tasks: The task runs of each.
        are_jobs: Whether each runs a Yeedu job and waits for it.
    """

    runs: float
    seconds: float = 60.0
    tasks: int = 1
    are_jobs: bool = False


@dataclass(frozen=True)
class Costs:
    """The measured costs, in CPU-seconds and megabytes, by service.

    Attributes:
        machine: The machine and the versions.
        run: The cost of an empty flow run, with one server (``alone``), or 1, 2, 3 API servers.
        idle: Cores in use while nothing is due, for the same platforms.
        job: What a run of a Yeedu job costs beyond an empty one.
        task: The cost of a task run that does nothing.
        megabytes: Memory of each service, and of a flow run (``run``).
        stored: Bytes in the database for a ``run``, a ``job`` and a ``task``.
        rates: Runs a minute observed on that machine, for the same platforms as `run`.
        cores: The number of cores of that machine.
    """

    machine: str
    run: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, Mapping[str, float]]
    job: Mapping[str, float]
    task: Mapping[str, float]
    megabytes: Mapping[str, float]
    stored: Mapping[str, float]
    rates: Mapping[str, float]
    cores: int

    @classmethod
    def read(cls, file: Path = COSTS) -> "Costs":
        """Read the costs from a file of `bench.scale`.

        Raises:
            SystemExit: There is no such file; the message says how to make one.
        """
        if not file.exists():
            sys.exit(
                f"size: nothing is measured in {file}; `make bench ARGS=scale` does that, in ten minutes"
            )
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def of_run(self, load: Load, form: str) -> dict[str, float]:
        """Return the CPU-seconds that one run of a load costs each service of a platform of this form."""
        extra = {
            name: load.tasks * self.task.get(name, 0) + (self.job.get(name, 0) if load.are_jobs else 0)
            for name in SERVICES
        }
        return {name: cost + extra[name] for name, cost in self.run[form].items() if name != _MOCK}


def most_runs(costs: Costs, load: Load, servers: int | None, cores: float) -> float:
    """Return the runs a minute at which a resource is full, on one machine.

    Args:
        costs: What was measured.
        load: The kind of run; its `runs` are ignored.
        servers: How many API servers; ``None`` for one server that does everything.
        cores: The cores of the machine, which everything shares, workers included.
    """
    form = ALONE if servers is None else str(servers) if str(servers) in costs.run else _SEVERAL
    each, idle = costs.of_run(load, form), costs.idle[form]
    whole = sum(each.values()) + costs.run[form].get(_MOCK, 0)
    limits = [
        (cores - sum(idle.values())) / whole,
        ((servers or 1) - idle["server"]) / each["server"],
    ]
    if "services" in each:
        limits.append((1 - idle["services"]) / each["services"])
    return _MINUTE * min(limits)


@dataclass(frozen=True)
class Need:
    """What one part of the platform needs.

    Attributes:
        part: Its name.
        cores: The cores in use, on average.
        processes: The number of its processes.
        megabytes: The memory of all of them together.
        full_at: The runs a minute at which that many processes are full.
    """

    part: str
    cores: float
    processes: int
    megabytes: float
    full_at: float


@dataclass(frozen=True)
class Size:
    """A platform for a load.

    Attributes:
        servers: API servers; ``None`` for one server that does everything.
        needs: What each part needs.
        at_once: Flow runs in flight at once.
        connections: The connections that Postgres has to allow.
        gigabytes_a_day: The growth of the database until retention deletes as much.
    """

    servers: int | None
    needs: Sequence[Need]
    at_once: int
    connections: int
    gigabytes_a_day: float


def size(load: Load, costs: Costs) -> Size:
    """Return the smallest platform that a load fits into, with room for its peaks."""
    a_second = load.runs / _MINUTE
    alone = costs.of_run(load, ALONE)
    server = costs.idle[ALONE]["server"] + a_second * alone["server"]
    form = ALONE if server <= BUSY else _SEVERAL
    each, idle = costs.of_run(load, form), costs.idle[form]
    used = {name: idle.get(name, 0) + a_second * cost for name, cost in each.items()}
    servers = None if form == ALONE else max(2, math.ceil(used["server"] / BUSY))
    # Postgres and a worker can use all cores; each of the others is one process, on one core.
    at_once = math.ceil(a_second * load.seconds)
    needs = []
    for name, cores in used.items():
        many = servers or 1 if name == "server" else 1
        memory = costs.megabytes.get(name, 0) * many
        if name == "worker":
            memory += at_once * costs.megabytes["run"]
        limit = (
            math.inf
            if name in {"worker", "postgres"} or not each[name]
            else ((many * BUSY - idle.get(name, 0)) / each[name] * _MINUTE)
        )
        needs.append(Need(name, cores, many, memory, limit))
    stored = costs.stored["run"] + load.tasks * costs.stored["task"]
    stored += costs.stored["job"] if load.are_jobs else 0
    pools = 16 if servers is None else (servers + 1) * 11
    return Size(servers, needs, at_once, pools + 20, load.runs * _DAY_MINUTES * stored / 1e9)


def report(load: Load, found: Size, costs: Costs) -> str:
    """Return what a load needs, as text with a Markdown table."""
    kind = "a Yeedu job each" if load.are_jobs else f"{load.tasks} tasks each"
    settings = [f"WORKER_LIMIT={found.at_once}"]
    if found.servers is not None:
        settings = ["SCALE=1", f"API_SERVERS={found.servers}", *settings]
    lines = [
        f"{load.runs:g} runs a minute of {load.seconds:g} s, {kind}: {found.at_once} at once",
        "",
        "| Part | Processes | Cores in use | Memory | Full at, runs a minute |",
        "| --- | --- | --- | --- | --- |",
    ]
    for need in found.needs:
        full = "takes more cores" if math.isinf(need.full_at) else f"{need.full_at:.0f}"
        lines.append(
            f"| {need.part} | {need.processes} | {need.cores:.2f} | {_memory(need.megabytes)} | {full} |"
        )
    cores = sum(need.cores for need in found.needs)
    memory = _memory(sum(need.megabytes for need in found.needs))
    lines += [
        f"| all | | {cores:.2f}, so {math.ceil(cores / BUSY)} cores | {memory} | |",
        "",
        f"Settings: {' '.join(settings)}",
        f"Postgres: {found.connections} connections; grows by {found.gigabytes_a_day:.2f} GB a day",
        f"Measured on: {costs.machine}",
    ]
    if (found.servers or 0) > MOST_SERVERS:
        lines.append(
            f"More than {MOST_SERVERS} API servers do not fit into one machine's platform: docs/kubernetes.md"
        )
    return "\n".join(lines)


def _memory(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a load needs."""
    parser = argparse.ArgumentParser(prog="make size", description=__doc__)
    parser.add_argument("--runs", type=_positive, required=True, help="flow runs a minute in a busy hour")
    parser.add_argument("--seconds", type=_positive, default=60, help="how long each lasts (60)")
    parser.add_argument("--tasks", type=int, default=1, help="task runs of each (1)")
    parser.add_argument("--jobs", action="store_true", help="each runs a Yeedu job and waits for it")
    parser.add_argument("--costs", type=Path, default=COSTS, help="what was measured")
    asked = parser.parse_args(arguments)
    load, costs = Load(asked.runs, asked.seconds, asked.tasks, asked.jobs), Costs.read(asked.costs)
    print(report(load, size(load, costs), costs))
    return 0


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
