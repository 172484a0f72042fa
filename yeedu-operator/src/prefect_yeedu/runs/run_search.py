"""Searches Yeedu's list of runs for the run that a submission started; tells "none" from "unknown"."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from prefect_yeedu.errors import YeeduNotFound, YeeduSubmissionUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect_yeedu.client.api import RunAPI, RunPage
    from prefect_yeedu.runs.record import Record
    from prefect_yeedu.wire.run_object import RunSnapshot

logger = logging.getLogger(__name__)

KEY_NAME = "spark.yeedu.prefect_key"
# How exactly Yeedu's clock can be compared with this machine's, and this machine's with that of another one,
# where an earlier attempt recorded the intent. Runs without a key have to be told apart more exactly.
CLOCK_SECONDS = 5.0
MACHINES_SECONDS = 600.0
MACHINES_SECONDS_WITHOUT_KEY = 60.0
# A time without a zone may be that of any place; no zone is this far from UTC.
ZONES_SECONDS = 86400.0
# How many runs are read one by one if the list does not show their conf entries.
MAX_READS = 200


@dataclass
class RunSearch:
    """Looks for one record's run; can be repeated.

    Attributes:
        api: Calls about this kind of run.
        definition: The job or notebook.
        record: What is known of the run; its intent's time bounds the search.
        window_seconds: How long after the intent Yeedu may have started the run.
        arguments: The run's arguments, if it was given any.
        is_clear: Whether the last search could tell of each run whether it is the one.
    """

    api: RunAPI
    definition: int
    record: Record
    window_seconds: float
    arguments: str | None = None
    is_clear: bool = True
    _others: set[int] = field(default_factory=set[int])
    _read: set[int] = field(default_factory=set[int])

    def run(self) -> int | None:
        """Return the run, or None if the list does not have it now.

        Raises:
            YeeduSubmissionUnknown: The server does not show which run is the one.
            YeeduError: The list cannot be read.
        """
        self.is_clear = True
        return self._search_by_key() if self.api.routes.takes_conf else self._search_for_proof()

    def unknown(self, reason: str) -> YeeduSubmissionUnknown:
        """Return the error that tells the user what to check."""
        kind = self.api.kind
        sign = (
            f"with the conf entry {KEY_NAME}={self.record.key}"
            if self.api.routes.takes_conf
            else f"that this user started at {datetime.fromtimestamp(self.record.intended_at).astimezone()}"
        )
        return YeeduSubmissionUnknown(
            f"It is not known whether Yeedu started {kind} {self.definition} ({reason.rstrip('.')}); look in "
            f"Yeedu for a run {sign}, and start it again only if there is none."
        )

    def _search_by_key(self) -> int | None:
        """Look for the key's conf entry; if the list leaves conf out, read the runs one by one."""
        found: list[int] = []
        for run in recent_runs(self.api, self.definition, self._intended_at - ZONES_SECONDS):
            if run.run_id in self._others or self._is_too_old(run):
                continue
            has_key = self._has_key(run)
            if has_key:
                found.append(run.run_id)
            elif has_key is not None:
                self._others.add(run.run_id)
        if len(found) > 1:
            logger.warning("The runs %s of Yeedu bear the same key; the first is taken.", sorted(found))
        return min(found, default=None)

    def _has_key(self, run: RunSnapshot) -> bool | None:
        """Return whether a run has the record's key, or None if it cannot be read now."""
        conf = run.conf
        if conf is None:
            self._read.add(run.run_id)
            if len(self._read) > MAX_READS:
                raise self.unknown(f"more than {MAX_READS} runs may be the one")
            try:
                conf = self.api.read(run.run_id).conf
            except YeeduNotFound:
                self.is_clear = False
                return None
        if conf is None:
            raise self.unknown("its runs do not show their conf entries")
        # A server may show an entry in another form than it was given, but hardly without the key's own text.
        key = re.compile(rf"(?<![\w-]){re.escape(self.record.key)}(?![\w-])")
        return any(key.search(entry) for entry in conf)

    def _search_for_proof(self) -> int | None:
        """Look for the only run that this user has started since the intent, if runs carry no key."""
        names = self.api.read_names()
        ours: list[int] = []
        strangers: list[int] = []
        knows_us = False
        for run in recent_runs(self.api, self.definition, self._intended_at - ZONES_SECONDS):
            creators = _creators(run)
            is_ours = bool(creators & names)
            knows_us |= is_ours
            if run.run_id in self.record.others or not self._is_in_window(run):
                continue
            if not creators:
                raise self.unknown(f"run {run.run_id} does not show who started it")
            if is_ours and self._has_arguments(run):
                ours.append(run.run_id)
            elif not is_ours:
                strangers.append(run.run_id)
        if len(ours) > 1:
            raise self.unknown(f"each of the runs {sorted(ours)} may be the one")
        if not ours and strangers and not knows_us:
            raise self.unknown(f"whether this user started run {strangers[0]} is not to be seen")
        return ours[0] if ours else None

    @property
    def _intended_at(self) -> float:
        """When the intent was recorded, by Yeedu's clock."""
        return self.record.intended_at + self.api.client.seconds_ahead

    def _is_too_old(self, run: RunSnapshot) -> bool:
        created = created_at(run)
        if created is None:
            return False
        doubt = MACHINES_SECONDS if created.has_zone else ZONES_SECONDS
        return created.seconds < self._intended_at - doubt

    def _is_in_window(self, run: RunSnapshot) -> bool:
        """Return whether, by its creation time, the record's submission can have started a run."""
        created = created_at(run)
        if created is None:
            raise self.unknown("its runs do not show when they were started")
        begin, end = self._intended_at, self._intended_at + self.window_seconds
        doubt = CLOCK_SECONDS if self.record.is_new else MACHINES_SECONDS_WITHOUT_KEY
        if created.has_zone and begin - doubt <= created.seconds < begin - CLOCK_SECONDS:
            raise self.unknown(f"run {run.run_id} was started just before the intent")
        if created.has_zone:
            return begin - CLOCK_SECONDS <= created.seconds <= end + doubt
        if begin - ZONES_SECONDS <= created.seconds <= end + ZONES_SECONDS:
            raise self.unknown("its runs show when they were started without saying in which time zone")
        return False

    def _has_arguments(self, run: RunSnapshot) -> bool:
        shown = run.fields.get("arguments")
        return self.arguments is None or not isinstance(shown, str) or shown == self.arguments


def recent_runs(api: RunAPI, definition: int | None, since: float) -> Iterator[RunSnapshot]:
    """Yield each of a definition's runs once, in whatever order the server lists them.

    Runs from before `since` may be left out, if the list turns out to be sorted by time.

    Args:
        api: Calls about this kind of run.
        definition: The job or notebook; None for all of the workspace.
        since: A time in seconds since 1970, by Yeedu's clock.
    """
    first = api.list_page(definition, 1)
    order = _order(first)
    is_upward = order > 0 and (first.total or 1) > 1
    seen: set[int] = set()
    for page in (_from_the_end if is_upward else _from_the_beginning)(api, definition, first):
        news = [run for run in page.runs if run.run_id not in seen]
        seen.update(run.run_id for run in news)
        yield from news
        created = [moment.seconds for run in page.runs if (moment := created_at(run)) is not None]
        if order and (is_upward or order < 0) and min(created, default=since) < since:
            return
        if not news and not is_upward:
            return  # the server ignores the page number


def _from_the_beginning(api: RunAPI, definition: int | None, first: RunPage) -> Iterator[RunPage]:
    page, number = first, 1
    while page.runs:
        yield page
        number += 1
        if number > (page.total or number):
            return
        page = api.list_page(definition, number)


def _from_the_end(api: RunAPI, definition: int | None, first: RunPage) -> Iterator[RunPage]:
    last = first.total or 1
    while ((page := api.list_page(definition, last)).total or 0) > last:
        last = page.total or last  # it has grown meanwhile
    yield page
    for number in range(last - 1, 0, -1):
        yield first if number == 1 else api.list_page(definition, number)


def _order(page: RunPage) -> int:
    """Return 1 if a page has the oldest run first, -1 if it has the newest first, else 0."""
    moments = [created_at(run) for run in page.runs]
    seconds = [moment.seconds for moment in moments if moment is not None]
    if len(seconds) < len(moments) or len(set(seconds)) < 2:
        return 0
    if seconds == sorted(seconds):
        return 1
    return -1 if seconds == sorted(seconds, reverse=True) else 0


@dataclass(frozen=True)
class Moment:
    """When something happened.

    Attributes:
        seconds: Seconds since 1970, as if in UTC if the zone is not known.
        has_zone: Whether the zone is known.
    """

    seconds: float
    has_zone: bool


def created_at(run: RunSnapshot) -> Moment | None:
    """Return when a run was created, or None if Yeedu does not show that."""
    value = run.fields.get("created_at")
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return Moment(value / 1000 if value > 1e11 else float(value), has_zone=True)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return None
    has_zone = moment.tzinfo is not None
    return Moment((moment if has_zone else moment.replace(tzinfo=UTC)).timestamp(), has_zone)


def _creators(run: RunSnapshot) -> frozenset[str]:
    """Return the names by which a run shows who started it."""
    value = run.fields.get("created_by")
    values = list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else [value]
    return frozenset(str(one) for one in values if isinstance(one, str | int) and str(one))
