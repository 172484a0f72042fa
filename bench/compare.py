"""Reports what got slower than in an earlier ``results.json`` by more than the noise.

``make bench ARGS="--compare FILE"`` prints it. A figure is a list of measurements, or one number. Lists are
compared by their medians, and the wider of the two spreads is the noise. A single number has no known spread,
so a sixth of it stands in.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEAST_SHARE = 0.05
_SINGLE_SHARE = 1 / 6
_MORE_IS_BETTER = ("per_minute",)
# Inputs of a benchmark, and figures of somebody else's program.
_GIVEN = ("ticks_per_minute", "work_seconds", "published_seconds")
# The smallest differences worth reporting, whatever share of the figure they are.
_LEAST = {"percent": 1.0, "megabytes": 5.0, "milliseconds": 2.0}
_LEAST_SECONDS = 0.02

Figure = float | list[float]


@dataclass(frozen=True)
class Change:
    """A figure of two results.

    Attributes:
        name: Its path in the results, joined by colons.
        before: The earlier median.
        now: The later median.
        noise: By how much the two may differ without a cause.
    """

    name: str
    before: float
    now: float
    noise: float

    @property
    def is_worse(self) -> bool:
        """Whether it costs more than before, by more than the noise."""
        more = self.before - self.now if self.name.endswith(_MORE_IS_BETTER) else self.now - self.before
        return more > self.noise

    @property
    def is_better(self) -> bool:
        """Whether it costs less than before, by more than the noise."""
        return abs(self.now - self.before) > self.noise and not self.is_worse


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the figures that both results have, before and now."""
    earlier = dict(_figures(before))
    return [_change(name, earlier[name], figure) for name, figure in _figures(now) if name in earlier]


def report(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what got slower and what got faster as a Markdown table, the worst first."""
    compared = changes(before, now)
    told = [change for change in compared if change.is_worse or change.is_better]
    told.sort(key=lambda change: (change.is_better, -abs(change.now - change.before) / change.noise))
    lines = [f"{len(compared)} figures compared; {len(told)} differ by more than their noise."]
    if before.get("machine") != now.get("machine"):
        lines.append(f"Two machines: {before.get('machine')}, and now {now.get('machine')}.")
    if told:
        lines += ["", "| figure | before | now | noise | |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {change.name} | {change.before:.3g} | {change.now:.3g} | {change.noise:.2g} "
        f"| {'worse' if change.is_worse else 'better'} |"
        for change in told
    ]
    return "\n".join(lines)


def _figures(results: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Figure]]:
    for key, value in results.items():
        if key in _GIVEN:
            continue
        if isinstance(value, dict):
            yield from _figures(value, *path, key)
        elif _is_number(value) or (isinstance(value, list) and value and all(map(_is_number, value))):
            yield ": ".join([*path, key]), value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _change(name: str, before: Figure, now: Figure) -> Change:
    old, new = _median(before), _median(now)
    noise = max(
        _noise(before),
        _noise(now),
        _LEAST_SHARE * abs(old),
        next((least for unit, least in _LEAST.items() if unit in name), _LEAST_SECONDS),
    )
    return Change(name, old, new, noise)


def _median(figure: Figure) -> float:
    return statistics.median(figure) if isinstance(figure, list) else figure


def _noise(figure: Figure) -> float:
    if isinstance(figure, list) and len(figure) > 1:
        low, _, high = statistics.quantiles(figure, n=4, method="inclusive")
        return high - low
    return _SINGLE_SHARE * abs(_median(figure))
