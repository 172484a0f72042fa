"""Checks backups: the age of the newest one, whether it is intact, and who may read it."""

import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.backup.archive import verify_archive
from local.backup.backups import prefect_version
from local.backup.restore import numbers_of
from local.backup.schedule import LATE_SECONDS, are_scheduled, backups_in, seconds_between
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import Site
from local.errors import CommandError
from local.settings.own_database import HOST
from local.status.metrics import age_of

_OLD = timedelta(days=7)
_LATE = timedelta(seconds=LATE_SECONDS)
_READ_SECONDS = 6.0


def _newest(site: Site) -> tuple[Path, datetime] | None:
    found = backups_in(site.root / "backups")
    return found[-1] if found else None


def check_backup_age(site: Site) -> Iterator[Finding]:
    """Compare the age of the newest backup with what the settings promise."""
    if site.settings.other_server or site.settings.get(HOST):
        yield note("Prefect's data is elsewhere; back it up there")
        return
    newest = _newest(site)
    is_scheduled = are_scheduled(site.settings)
    every = timedelta(seconds=seconds_between(site.settings))
    how = "COMPOSE_PROFILES=backup in .env makes one a day"
    if not newest:
        text = "there is no backup in backups/"
        logs = "`docker compose logs backup`, or .local/logs/backup.log, says why"
        yield (
            wrong(f"{text}, and COMPOSE_PROFILES asks for them", logs)
            if is_scheduled and site.form != "none"
            else note(text, f"`make backup` makes one; {how}")
        )
        return
    age = datetime.now(UTC) - newest[1]
    text = f"the newest backup is {age_of(age)} old"
    if is_scheduled and age > every + _LATE and site.form != "none":
        yield wrong(f"{text}, and one is due every {age_of(every)}", "`docker compose logs backup` says why")
    elif age > _OLD:
        yield note(text, f"`make backup` makes one; {how}")
    else:
        yield ok(text)


def check_backup_file(site: Site) -> Iterator[Finding]:
    """Verify the newest backup, as far as time allows."""
    newest = _newest(site)
    if not newest:
        return
    file = newest[0]
    deadline = time.monotonic() + _READ_SECONDS
    try:
        manifest, is_whole = verify_archive(file, lambda: time.monotonic() > deadline)
    except CommandError as error:
        yield wrong(str(error), "create another one with `make backup`; delete the damaged one")
        return
    size = f"{file.stat().st_size / 1e6:,.0f} MB"
    text = f"{file.name} ({size}, {manifest.database}, Prefect {manifest.prefect})"
    form = {"containers": "postgres", "processes": "sqlite"}.get(site.form, manifest.database)
    if manifest.database != form:
        yield note(
            f"{text} is of the other form of the platform, and cannot be restored here", "`make backup`"
        )
    elif numbers_of(prefect_version(site.root)) < numbers_of(manifest.prefect):
        yield wrong(
            f"{text} is of a newer Prefect than this checkout's",
            "check out the version that it was made with",
        )
    else:
        yield (
            ok(f"{text} can be read")
            if is_whole
            else note(
                f"{text}: too large to be read through here",
                f"try it out: make restore FILE=backups/{file.name} elsewhere",
            )
        )


def check_backup_permissions(site: Site) -> Iterator[Finding]:
    """Check whether others may read backups, which hold the key to all secrets."""
    if os.name != "posix":
        return
    found = backups_in(site.root / "backups")
    open_ones = [file.name for file, _ in found if stat.S_IMODE(file.stat().st_mode) & 0o077]
    if open_ones:
        yield wrong(
            f"others on this machine may read {len(open_ones)} backups ({', '.join(open_ones[:2])}), "
            "with passwords and the key to them",
            "chmod 600 backups/*.tar",
        )
    elif found:
        yield ok(f"{len(found)} backups are for their owner alone")


THEME = Theme(
    "backups",
    (
        Check(
            "backup-age",
            "how old the newest backup in `backups/` is",
            "`COMPOSE_PROFILES=backup` promises a newer one",
            "`docker compose logs backup`",
            check_backup_age,
        ),
        Check(
            "backup-file",
            "whether the newest backup can be read, and is what was written",
            "it is truncated or damaged, or of a newer Prefect",
            "`make backup`",
            check_backup_file,
        ),
        Check(
            "backup-permissions",
            "who may read backups",
            "others than their owner",
            "`chmod 600 backups/*.tar`",
            check_backup_permissions,
        ),
    ),
)
