"""Compares what this checkout's operator and an older one's do in bad weather.

``python -m bench.weather [COMMIT]`` prints the table; the older sources are in a git worktree of that commit.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.prefect_process import PrefectProcess

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("weather_figures.py")
PARTS = ("requests", "stop", "log")


@contextmanager
def sources_of(commit: str, folder: Path) -> Iterator[Path]:
    """Check out another commit for the duration of the `with` block."""
    place = folder / "before"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, commit], cwd=ROOT, check=True)
    try:
        yield place / "yeedu-operator" / "src"
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", place], cwd=ROOT, check=True)


def measure(sources: Path, folder: Path) -> dict[str, Any]:
    """Return the figures of the operator whose sources are in a folder."""
    folder.mkdir()
    server = PrefectProcess(folder)
    server.start()
    environment = {
        **server.environment,
        "PREFECT_API_URL": server.url,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join([str(sources), str(ROOT)]),
    }
    try:
        figures: dict[str, Any] = {}
        for part in PARTS:
            print(f"measuring {part} of {sources}", file=sys.stderr, flush=True)
            answer = subprocess.run(
                [sys.executable, SCRIPT, part], env=environment, cwd=folder, capture_output=True, text=True
            )
            if answer.returncode:
                raise RuntimeError(f"{part} failed:\n{answer.stderr[-3000:]}")
            figures[part] = json.loads(answer.stdout.splitlines()[-1])
        return figures
    finally:
        server.stop()


def rows(figures: dict[str, Any]) -> dict[str, str]:
    """Return the rows of the table."""
    told: dict[str, str] = {}
    for name, row in figures["requests"].items():
        least = "" if row["is_over"] else "no error yet: "
        told[f"requests before the first error, {name}"] = f"{least}{row['requests']} in {row['seconds']} s"
    for name, row in figures["stop"].items():
        if name == "all":
            told["seconds to stop, median and max"] = f"{seconds(row['median'])} / {seconds(row['max'])}"
            told["stops whose end was seen"] = row["seen"]
            continue
        ends = [seconds(end["seconds"]) + ("" if end["is_seen"] else " (not seen)") for end in row.values()]
        told[f"seconds to stop, {name} ({', '.join(row)})"] = " / ".join(ends)
    for name, lost in figures["log"].items():
        told[f"log lines lost of 1000, download breaks {name}"] = str(lost)
    return told


def seconds(value: float | None) -> str:
    """Return seconds as text; None means that the run did not end."""
    return "never" if value is None else f"{value:.1f}"


def table(columns: dict[str, dict[str, str]]) -> str:
    """Return a Markdown table with a column for each checkout."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    lines += [
        f"| {name} | {' | '.join(column.get(name, '') for column in columns.values())} |" for name in names
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    columns: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as scratch:
        if sys.argv[1:]:
            with sources_of(sys.argv[1], Path(scratch)) as sources:
                columns[sys.argv[1]] = rows(measure(sources, Path(scratch) / "of-before"))
        columns["this checkout"] = rows(measure(ROOT / "yeedu-operator" / "src", Path(scratch) / "of-this"))
    print(table(columns))


if __name__ == "__main__":
    main()
