"""The types of the doctor: themes of checks, and their findings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from local.doctor.site import Site


class Level(StrEnum):
    """How much a finding matters: the words are a stable part of what is printed."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        level: Whether something is to be done.
        text: What was found.
        fix: The command or the setting that mends it; empty where there is nothing to mend.
    """

    level: Level
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    """Return a finding of what is as it should be."""
    return Finding(Level.OK, text)


def note(text: str, fix: str = "") -> Finding:
    """Return a finding of what is worth knowing and hinders nothing, or could not be looked at."""
    return Finding(Level.NOTE, text, fix)


def wrong(text: str, fix: str) -> Finding:
    """Return a finding of what has to be mended."""
    return Finding(Level.WRONG, text, fix)


CheckFunction = Callable[[Site], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One check, as docs/doctor.md tells of it.

    Attributes:
        name: Stable, and the only one of that name.
        looks_at: What it checks.
        wrong_when: What makes a finding WRONG.
        fix: What then is to be done, in short.
        run: Yields the findings; none where there is nothing of that kind to check.
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
