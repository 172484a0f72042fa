"""The types of the doctor: themes of checks, and their findings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from local.doctor.site import Site


class Level(StrEnum):
    """How much a finding matters; the words are a stable part of the output."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        level: Whether something has to be done.
        text: What was found.
        fix: The command or the setting that fixes it; empty if there is nothing to fix.
    """

    level: Level
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    """Return a finding that something is as it should be."""
    return Finding(Level.OK, text)


def note(text: str, fix: str = "") -> Finding:
    """Return a finding that is worth knowing and breaks nothing, or that something was not checked."""
    return Finding(Level.NOTE, text, fix)


def wrong(text: str, fix: str) -> Finding:
    """Return a finding that has to be fixed."""
    return Finding(Level.WRONG, text, fix)


CheckFunction = Callable[[Site], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One check, as docs/doctor.md describes it.

    Attributes:
        name: Stable and unique.
        looks_at: What it checks.
        wrong_when: What makes a finding WRONG.
        fix: What to do then, in brief.
        run: Yields the findings; none if there is nothing of that kind to check.
    """

    name: str
    looks_at: str
    wrong_when: str
    fix: str
    run: CheckFunction


@dataclass(frozen=True)
class Theme:
    """Checks that belong together, and are printed together."""

    name: str
    checks: tuple[Check, ...]
