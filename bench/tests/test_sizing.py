"""What a platform of some size needs, reckoned from costs that are easy to multiply."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.sizing import ALONE, BUSY, COSTS, Costs, Load, main, most_runs, report, size

SEVERAL = {"proxy": 0.1, "server": 0.4, "services": 0.2, "redis": 0.1, "postgres": 0.2, "worker": 0.5}
COSTS_HERE = Costs(
    machine="a machine",
    run={ALONE: {"server": 0.3, "postgres": 0.1, "worker": 0.5, "yeedu-mock": 0.1}, "1": SEVERAL},
    idle={ALONE: {"server": 0.05, "postgres": 0.0, "worker": 0.0}, "1": dict.fromkeys(SEVERAL, 0.0)},
    job={"server": 0.1, "worker": 0.4},
    task={"server": 0.02, "worker": 0.01},
    megabytes={"server": 300, "postgres": 100, "worker": 100, "run": 20},
    stored={"run": 10_000, "job": 5_000, "task": 2_000},
    rates={},
    cores=2,
)


@pytest.mark.parametrize(
    ("runs", "servers", "cores"),
    [(60, None, 0.35), (129, None, 0.05 + 129 / 60 * 0.3), (131, 2, 131 / 60 * 0.4), (600, 6, 4.0)],
)
def test_servers_are_as_many_as_stay_below_the_share_of_a_core_that_leaves_room(
    runs: float, servers: int | None, cores: float
) -> None:
    found = size(Load(runs, tasks=0), COSTS_HERE)

    assert found.servers == servers
    server = next(need for need in found.needs if need.part == "server")
    assert server.cores == pytest.approx(cores)
    assert server.cores <= BUSY * server.processes
    assert server.full_at >= runs


def test_tasks_and_jobs_cost_what_they_cost_beyond_the_run() -> None:
    plain = COSTS_HERE.of_run(Load(1, tasks=0), ALONE)
    assert COSTS_HERE.of_run(Load(1, tasks=10), ALONE) == pytest.approx(
        {"server": 0.5, "postgres": 0.1, "worker": 0.6}
    )
    assert COSTS_HERE.of_run(Load(1, tasks=0, are_jobs=True), ALONE) == pytest.approx(
        plain | {"server": 0.4, "worker": 0.9}
    )


def test_runs_at_once_take_memory_and_the_database_grows_by_the_day() -> None:
    found = size(Load(30, seconds=120, tasks=2, are_jobs=True), COSTS_HERE)

    assert found.at_once == 60
    worker = next(need for need in found.needs if need.part == "worker")
    assert worker.megabytes == 100 + 60 * 20
    assert found.gigabytes_a_day == pytest.approx(30 * 1440 * 19_000 / 1e9)
    assert found.connections == 16 + 20


@pytest.mark.parametrize(
    ("servers", "cores", "most"),
    [
        (None, 2, 60 * 1.95 / 1.0),  # the machine is full
        (None, 64, 60 * 0.95 / 0.3),  # the one server's process is
        (1, 64, 60 / 0.4),
        (2, 64, 60 / 0.2),  # services' process is, however many API servers there are
        (3, 64, 60 / 0.2),
    ],
)
def test_what_is_full_first_says_how_many_runs_there_are(
    servers: int | None, cores: float, most: float
) -> None:
    several = replace(COSTS_HERE, run=COSTS_HERE.run | {"2": SEVERAL, "3": SEVERAL})
    several = replace(several, idle=several.idle | {"2": several.idle["1"], "3": several.idle["1"]})
    assert most_runs(several, Load(1, tasks=0), servers, cores) == pytest.approx(most)


def test_report_names_the_settings_and_where_it_was_measured() -> None:
    load = Load(600, seconds=10, tasks=0)
    said = report(load, size(load, COSTS_HERE), COSTS_HERE)

    assert "Settings: SCALE=1 API_SERVERS=6 WORKER_LIMIT=100" in said
    assert "| server | 6 | 4.00 |" in said
    assert said.endswith("Measured on: a machine")


def test_program_needs_nothing_but_python(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    program = [sys.executable, "-I", str(COSTS.with_name("sizing.py")), "--costs", str(costs)]
    command = [*program, "--runs", "100", "--seconds", "30", "--jobs"]
    without = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert without.returncode == 1
    assert without.stderr.startswith(f"size: nothing is measured in {costs}; `make bench ARGS=scale` does")

    costs.write_text(json.dumps(asdict(COSTS_HERE)), encoding="utf-8")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("100 runs a minute of 30 s, a Yeedu job each: 50 at once\n")
    assert done.stdout.endswith("Measured on: a machine\n")


@pytest.mark.parametrize("runs", ["0", "-1", "inf", "nan", "many"])
def test_number_that_is_none_is_refused(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--runs", runs])
    assert "--runs" in capsys.readouterr().err
