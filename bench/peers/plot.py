"""Draws the peers: how soon an empty flow ends, how many end a minute, and what each costs."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.peers.table import OURS, Figures

_DRAWN = {
    "ended_p50": "Trigger to end of an empty flow, s",
    "runs_per_minute": "Empty flows a minute, 10 at a time",
    "cpu_seconds_per_run": "CPU seconds for each",
}
_OURS, _FRESH, _WARM = "#2f6fed", "#9aa5b1", "#dfe4ea"


def draw(peers: dict[str, Figures], file: Path) -> None:
    """Draw bars into a PNG file, on log scales; those of peers without a process for each run are pale.

    Args:
        peers: As `results.json` holds them.
        file: The file to write or replace.
    """
    figure = Figure(figsize=(4.2 * len(_DRAWN), 3.2), layout="constrained")
    for (name, title), axes in zip(_DRAWN.items(), figure.subplots(1, len(_DRAWN)), strict=True):
        _bars(axes, [row for row in peers.values() if name in row], name)
        axes.set_title(title)
    figure.savefig(file, dpi=160)


def _bars(axes: Axes, rows: list[Figures], name: str) -> None:
    colours = [_OURS if row["name"] == OURS else _FRESH if row["process_per_run"] else _WARM for row in rows]
    bars = axes.barh([row["name"] for row in rows], [row[name] for row in rows], color=colours)
    axes.bar_label(bars, fmt=lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.2g}", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
