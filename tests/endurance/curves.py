"""What a curve tells: how much it grew once everything was warm, and how it looks."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.endurance.day import HOURS, WARM_UP_HOURS
from tests.endurance.samples import Samples

_COLOURS = {
    "server": "#2f6fed",
    "worker": "#e8710a",
    "postgres": "#12855b",
    "yeedu-mock": "#9334e6",
    "warehouse": "#5f6b7a",
    "git-server": "#b80672",
    "rescue": "#9aa5b1",
}


def growth(
    hours: list[float], values: list[float], of_an_hour: Callable[[list[float]], float] = min
) -> tuple[float, float]:
    """Return by how much an hour's value grew after the warm-up, and the middle one.

    The slope is the middle one of those between any two hours (Theil and Sen), whatever single outliers do.

    Args:
        hours: When each value was seen.
        values: What was seen.
        of_an_hour: Which value of an hour counts: the lowest is what stays when the flow runs of a tick
            have ended.
    """
    width = HOURS / 24
    by_hour: dict[int, list[float]] = {}
    for hour, value in zip(hours, values, strict=True):
        if hour >= WARM_UP_HOURS:
            by_hour.setdefault(int(hour / width), []).append(value)
    points = [(number * width, of_an_hour(seen)) for number, seen in by_hour.items()]
    slope = median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))
    return slope * (HOURS - WARM_UP_HOURS), median(value for _, value in points)


def draw(samples: Samples, file: Path) -> None:
    """Draw the day into a PNG file."""
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    (memory, files), (rows, size) = figure.subplots(2, 2, sharex=True)
    _draw_services(memory, samples, "memory", "Memory of each service, MB")
    _draw_services(files, samples, "open files", "Open files of each service")
    figure.legend(*memory.get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
    for table in ("log", "events", "flow_run"):
        rows.plot(samples.hours, samples.curves["rows"][table], label=table, linewidth=1.2)
    rows.set_title("Rows of the database's tables")
    rows.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.2))  # between the curves
    size.plot(samples.hours, samples.curves["database"]["size"], color=_COLOURS["postgres"], linewidth=1.2)
    size.set_title("Size of the database, MB")
    for axes in (memory, files, rows, size):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, HOURS)
        axes.set_ylim(bottom=0)
    for axes in (rows, size):
        axes.set_xlabel("hours")
    figure.savefig(file, dpi=130)


def _draw_services(axes: Axes, samples: Samples, kind: str, title: str) -> None:
    for service, colour in _COLOURS.items():
        axes.plot(samples.hours, samples.curves[kind][service], color=colour, label=service, linewidth=1.2)
    axes.set_title(title)
