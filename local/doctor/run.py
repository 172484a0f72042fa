"""Runs all checks in parallel with a timeout for each, and prints the findings."""

import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.api import ApiUnavailableError
from local.console import Console
from local.doctor.masking import Masker, secrets_of, users_of
from local.doctor.model import Check, Finding, Level, Theme, note, wrong
from local.doctor.registry import THEMES
from local.doctor.site import Site
from local.errors import CommandError
from local.script import load_script
from local.settings.dotenv import dotenv_script
from local.settings.platform import ROOT

FORMAT = 1
CHECK_SECONDS, ALL_SECONDS, MIN_SECONDS = 11.0, 18.0, 4.0
_AT_ONCE = 6
_WIDTH = 18
_LONGEST = 600


@dataclass(frozen=True)
class Told:
    """What one check found, as far as it got."""

    theme: str
    check: str
    findings: tuple[Finding, ...]


class Ward:
    """Runs checks in parallel, and waits for each no longer than it may take.

    Args:
        site: What they examine.
        seconds: How long one may take.
        all_seconds: How long all of them together may take.
    """

    def __init__(self, site: Site, seconds: float = CHECK_SECONDS, all_seconds: float = ALL_SECONDS) -> None:
        self._site = site
        self._seconds = seconds
        self._end = time.monotonic() + max(all_seconds, MIN_SECONDS)
        self._slots = threading.Semaphore(_AT_ONCE)

    def go(self, themes: Sequence[Theme] = THEMES) -> Iterator[Told]:
        """Yield what each check found, in the order of the table."""
        under_way = [
            (theme, check, _RunningCheck(self._site, check, self._slots))
            for theme in themes
            for check in theme.checks
        ]
        for theme, check, running in under_way:
            yield Told(theme.name, check.name, tuple(running.findings(self._seconds, self._end)))


class _RunningCheck:
    """One check in a thread of its own, which is abandoned when it takes too long."""

    def __init__(self, site: Site, check: Check, slots: threading.Semaphore) -> None:
        self._found: list[Finding] = []
        self._check = check
        self._began = 0.0
        self._thread = threading.Thread(target=self._run, args=[site, slots], name=check.name, daemon=True)
        self._thread.start()

    def _run(self, site: Site, slots: threading.Semaphore) -> None:
        with slots:
            self._began = time.monotonic()
            try:
                for finding in self._check.run(site):
                    self._found.append(finding)
            except (ApiUnavailableError, CommandError) as error:
                self._found.append(note(f"not checked: {error}"))
            except Exception as error:  # noqa: BLE001 - the other checks still have to run
                self._found.append(note(f"not checked: {type(error).__name__}: {error}"))

    def findings(self, seconds: float, end: float) -> list[Finding]:
        """Wait until the check ends, for at most `seconds` and not beyond `end`, and return its findings."""
        while self._thread.is_alive() and time.monotonic() < end:
            if self._began and time.monotonic() > self._began + seconds:
                break
            self._thread.join(0.1)
        found = list(self._found)
        if self._thread.is_alive() and not self._began:
            found.append(note("not checked: out of time", "run it again; the checks before it took too long"))
        elif self._thread.is_alive():
            found.append(wrong("this check timed out", "what it queries hangs; see the other checks"))
        return found


def examine(
    site: Site, masker: Masker, themes: Sequence[Theme] = THEMES, seconds: float = ALL_SECONDS
) -> Iterator[Told]:
    """Yield what all checks found, without secrets, within `seconds`."""
    for told in Ward(site, all_seconds=seconds).go(themes):
        hidden = (
            # Masked before it is cut, so that no part of a secret is left.
            Finding(one.level, masker.masked(one.text)[:_LONGEST], masker.masked(one.fix))
            for one in told.findings
        )
        yield Told(told.theme, told.check, tuple(hidden))


def document(site: Site, all_told: Iterable[Told]) -> dict[str, object]:
    """Return the JSON form, which docs/doctor.md describes."""
    findings = [
        {"theme": told.theme, "check": told.check, **asdict(finding)}
        for told in all_told
        for finding in told.findings
    ]
    counts = {level.value: sum(one["level"] == level for one in findings) for level in Level}
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "form": site.form,
        "project": site.project.name,
        "counts": counts,
        "findings": findings,
    }


def lines_of(all_told: Iterable[Told]) -> Iterator[str]:
    """Yield the lines to print, theme by theme, and a last one with the counts."""
    theme, counts = "", dict.fromkeys(Level, 0)
    for told in all_told:
        if told.findings and told.theme != theme:
            theme = told.theme
            yield theme
        for finding in told.findings:
            counts[finding.level] += 1
            yield f"  {finding.level:<5}  {told.check:<{_WIDTH}} {finding.text}"
            if finding.fix and finding.level is not Level.OK:
                yield f"  {'':<5}  {'':<{_WIDTH}} fix: {finding.fix}"
    yield ""
    yield f"{counts[Level.OK]} ok, {counts[Level.NOTE]} notes, {counts[Level.WRONG]} WRONG"


def masker_of(site: Site) -> tuple[Masker, str]:
    """Return the masker of secrets, and why it may not know them all."""
    return Masker(secrets_of(site), users_of(site)), site.unknown()


def doctor(*, as_json: bool, bundle: Path | None, root: Path = ROOT) -> int:
    """Run all checks, print their findings, and return 1 if something is WRONG, else 0.

    Args:
        as_json: Print one JSON object instead of lines.
        bundle: Where to write an archive for support; None for no archive.
        root: The checkout.

    Raises:
        CommandError: The archive cannot be written.
    """
    from local.doctor.bundle import write_bundle

    dotenv_script()  # loaded once here, not in two threads
    load_script(ROOT / "server" / "generate_secrets.py")
    end = time.monotonic() + ALL_SECONDS
    site = Site.read(root)
    masker, unknown = masker_of(site)
    seen: list[Told] = []

    def watched() -> Iterator[Told]:
        for told in examine(site, masker, seconds=end - time.monotonic()):
            seen.append(told)
            yield told

    console = Console()
    if as_json:
        for _ in watched():
            pass
        console.say(json.dumps(document(site, seen), indent=2))
    else:
        for line in lines_of(watched()):
            console.say(line)
    if bundle:
        write_bundle(bundle, site, masker, seen, unknown=unknown)
        Console(sys.stderr if as_json else None).say(f"{bundle} is for support; review it before you send it")
    return 1 if any(finding.level is Level.WRONG for told in seen for finding in told.findings) else 0
