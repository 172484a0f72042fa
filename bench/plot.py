"""Draws the results: what a worker completes at saturation, and how late scheduled runs start."""

import statistics
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.workers import OURS, STOCK

_COLOURS = {STOCK: "#9aa5b1", OURS: "#2f6fed"}


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw the results that there are into a PNG file.

    Args:
        results: As ``results.json`` holds them; ``throughput`` and ``schedules`` are drawn.
        file: The file to write or replace.
    """
    lateness = {**results.get("schedules", {}), **results.get("schedules-500", {})}
    parts = [(_draw_throughput, results.get("throughput")), (_draw_lateness, lateness)]
    drawn = [(part, figures) for part, figures in parts if figures]
    if not drawn:
        return
    figure = Figure(figsize=(4.6 * len(drawn), 3.2), layout="constrained")
    for (part, figures), axes in zip(drawn, figure.subplots(1, len(drawn), squeeze=False)[0], strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        part(axes, figures)
    figure.savefig(file, dpi=160)


def _draw_throughput(axes: Axes, figures: dict[str, dict[str, list[float]]]) -> None:
    workers = [worker for worker in (STOCK, OURS) if worker in figures]
    rates = [statistics.median(figures[worker]["runs_per_minute"]) for worker in workers]
    bars = axes.bar(workers, rates, color=[_COLOURS[worker] for worker in workers], width=0.6)
    axes.bar_label(bars, fmt="%.0f")
    axes.set_title("Empty flow runs a minute, 10 at a time")


def _draw_lateness(axes: Axes, figures: dict[str, dict[str, float]]) -> None:
    deployments = list(figures)
    for percent, style in ((99, "o-"), (50, "o--")):
        late = [max(row[f"lateness_p{percent}"], 0.0) for row in figures.values()]
        axes.plot(deployments, late, style, color=_COLOURS[OURS], label=f"p{percent}")
    axes.set_xlabel("deployments, each with a tick in 1 minute" + ("; 500 in 5" if "500" in figures else ""))
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.set_title("Lateness of scheduled runs")
