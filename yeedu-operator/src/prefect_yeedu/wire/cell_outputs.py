"""Collects the outputs of one cell: in order, with streams joined, up to a maximum size."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace

from prefect_yeedu.models import Output


@dataclass(frozen=True)
class OutputLimits:
    """How much of a cell's outputs is kept.

    Attributes:
        max_characters: How many characters, in all outputs together; images count as base64 text.
        max_outputs: How many outputs.
        sentence: The note that takes the place of what is left out.
    """

    max_characters: int = 2_000_000
    max_outputs: int = 1000
    sentence: str = "Further outputs of this cell were left out."


class _Stream:
    """Pieces of one stream, joined when they are read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.buffer = io.StringIO()

    def output(self) -> Output:
        return Output("stream", self.name, {"text/plain": self.buffer.getvalue()})


@dataclass(frozen=True)
class _Shown:
    """Any other output, and the id to which later updates of it refer."""

    shown: Output
    display_id: str | None = None

    def output(self) -> Output:
        return self.shown


class OutputCollector:
    """Collects the outputs of one cell.

    Args:
        limits: How much is kept; an error is always kept, because it says why the cell failed.
    """

    def __init__(self, limits: OutputLimits | None = None) -> None:
        self._limits = limits or OutputLimits()
        self._entries: list[_Stream | _Shown] = []
        self._is_cut = False
        self._clears_before_next = False
        self.characters = 0

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All outputs, in order."""
        return tuple(entry.output() for entry in self._entries)

    def add_stream(self, name: str, text: str) -> None:
        """Add a piece of a stream."""
        self._clear_if_due()
        if self._is_cut or not text:
            return
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _Stream) or last.name != name:
            if len(self._entries) >= self._limits.max_outputs:
                self._cut()
                return
            last = _Stream(name)
            self._entries.append(last)
        kept = text[: self._limits.max_characters - self.characters]
        last.buffer.write(kept)
        self.characters += len(kept)
        if len(kept) < len(text):
            self._cut()

    def add(self, output: Output, display_id: str | None = None) -> None:
        """Add an output other than a stream's."""
        self._clear_if_due()
        if output.kind != "error" and not self._has_room(output):
            self._cut()
            return
        self._entries.append(_Shown(output, display_id))
        self.characters += _size(output)

    def update(self, output: Output, display_id: str | None) -> bool:
        """Replace the outputs with a display id; return whether there were any."""
        found = False
        for position, known in enumerate(self._entries):
            if display_id is None or not isinstance(known, _Shown) or known.display_id != display_id:
                continue
            found = True
            growth = _size(output) - _size(known.shown)
            if growth > self._limits.max_characters - self.characters:
                self._cut()
                continue
            shown = replace(known.shown, data=output.data, metadata=output.metadata)
            self._entries[position] = _Shown(shown, display_id)
            self.characters += growth
        return found

    def clear(self, *, waits: bool = False) -> None:
        """Discard all outputs, now or when the next one arrives."""
        self._clears_before_next = waits
        if not waits:
            self._entries.clear()
            self.characters, self._is_cut = 0, False

    def _clear_if_due(self) -> None:
        if self._clears_before_next:
            self.clear()

    def _has_room(self, output: Output) -> bool:
        is_full = len(self._entries) >= self._limits.max_outputs
        return not (self._is_cut or is_full or self.characters + _size(output) > self._limits.max_characters)

    def _cut(self) -> None:
        """Add the note, once, that the rest is missing."""
        if not self._is_cut:
            self._is_cut = True
            note = Output("stream", "stderr", {"text/plain": f"\n{self._limits.sentence}\n"})
            self._entries.append(_Shown(note))


def _size(output: Output) -> int:
    size = sum(map(len, output.data.values()))
    return size + len(json.dumps(output.metadata)) if output.metadata else size
