"""What was found out about each assumption, and the report of it, in words of ours alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from contract.assumptions import NOTHING
from contract.assumptions_of_runs import ASSUMPTIONS, SECTIONS

WIDTH = 10
# Nothing else of what a server says is shown: it may hold names, addresses or secrets.
_WORD = re.compile(r"[A-Z][A-Z_]{1,29}")
_CODE = re.compile(r"[A-Z]{2,6}-\d{1,8}")


class Verdict(StrEnum):
    """Whether an assumption holds for a server."""

    YES = "yes"
    NO = "no"
    NOT_SEEN = "not seen"


@dataclass(frozen=True)
class Finding:
    """What was found out about one assumption.

    Attributes:
        verdict: Whether it holds.
        seen: What was seen of it, or why nothing was; empty for nothing to say.
    """

    verdict: Verdict = Verdict.NOT_SEEN
    seen: str = ""


@dataclass
class Findings:
    """What was found out so far.

    Attributes:
        notes: What a person has to know besides, a sentence each.
    """

    notes: list[str] = field(default_factory=list[str])
    _found: dict[str, Finding] = field(default_factory=dict[str, Finding])

    def __getitem__(self, key: str) -> Finding:
        """Return what was found out about the assumption of this key."""
        return self._found.get(ASSUMPTIONS[key].key, Finding())

    def note(self, key: str, is_so: bool | None, seen: object = "") -> None:
        """Enter what was found out.

        Args:
            key: The assumption's.
            is_so: Whether it holds; None where that could not be seen.
            seen: What was seen, in words of ours.
        """
        verdict = Verdict.NOT_SEEN if is_so is None else Verdict.YES if is_so else Verdict.NO
        self._found[ASSUMPTIONS[key].key] = Finding(verdict, str(seen))

    def of(self, verdict: Verdict) -> list[str]:
        """Return the keys of what was found to be so."""
        return [key for key in ASSUMPTIONS if self[key].verdict is verdict]

    def as_text(self) -> str:
        """Return the table, and below it what follows from each `no` that something relies on."""
        lines: list[str] = []
        for section, rows in SECTIONS.items():
            lines += ["", section]
            for row in rows:
                finding = self[row.key]
                lines.append(f"  {finding.verdict:{WIDTH}}{row.says}{_in_brackets(finding.seen)}")
        missing = [key for key in self.of(Verdict.NO) if not ASSUMPTIONS[key].used_for.startswith(NOTHING)]
        if missing:
            lines += ["", "What follows where the answer is no"]
        for key in missing:
            row = ASSUMPTIONS[key]
            lines += [f"  {row.says}", f"{'':{WIDTH + 2}}used for: {row.used_for}"]
            lines += [f"{'':{WIDTH + 2}}so now:   {row.otherwise}"]
        lines += ["", *self.notes] if self.notes else []
        counts = ", ".join(f"{len(self.of(verdict))} {verdict}" for verdict in Verdict)
        return "\n".join([*lines[1:], "", f"{counts}."])

    def as_json(self) -> dict[str, Any]:
        """Return the same, for a program or a bug report."""
        rows = [
            {
                "section": section,
                "key": row.key,
                "says": row.says,
                "verdict": str(self[row.key].verdict),
                "seen": self[row.key].seen,
                "used_for": row.used_for,
                "otherwise": row.otherwise,
            }
            for section, rows in SECTIONS.items()
            for row in rows
        ]
        return {"rows": rows, "notes": self.notes}


def word(value: object) -> str:
    """Return a state or another word of a server's as it stands, or that it is none."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "no word"


def code(value: object) -> str:
    """Return an error code of a server's; empty where it has none."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
