"""Puts the cache in the place of the ``git clone`` of Prefect's own step, in the process of one flow run.

Deployments keep Prefect's step, ``prefect.deployments.steps.git_clone``, so that they run on any worker. What
the cache cannot do - submodules, a repository that does not answer - is left to Prefect.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect._internal.urls import strip_auth_from_url  # pyright: ignore[reportMissingTypeStubs]
from prefect.runner.storage import GitRepository

from yeedu_worker.checkouts.remote import CloneUnavailableError, Repository, revision_of
from yeedu_worker.checkouts.snapshots import Snapshots

MEGABYTES_VARIABLE = "WORKER_CHECKOUT_CACHE_MEGABYTES"
DEFAULT_MEGABYTES = 1024

logger = logging.getLogger("prefect.yeedu_worker.checkouts")


def substitute(environment: Mapping[str, str]) -> None:
    """Make this process clone from the cache, in the folder ``checkouts`` of Prefect's home.

    Environment:
        WORKER_CHECKOUT_CACHE_MEGABYTES: How much space the cache may take; default 1024, 0 for no cache.
        PREFECT_HOME: Prefect's home; default ``~/.prefect``.
    """
    megabytes = environment.get(MEGABYTES_VARIABLE) or str(DEFAULT_MEGABYTES)
    if not megabytes.isdecimal():
        logger.warning("%s=%r is not a whole number; there is no cache", MEGABYTES_VARIABLE, megabytes)
        return
    if int(megabytes) == 0:
        return
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    snapshots = Snapshots(home / "checkouts", int(megabytes) * 1024 * 1024)
    storage: Any = GitRepository
    stock = storage._clone_repo

    async def clone_repo(self: Any) -> None:
        """Clone from the cache, or else as Prefect does."""
        try:
            await asyncio.to_thread(_check_out, snapshots, self)
        except (CloneUnavailableError, OSError) as error:
            logger.info("not from the cache: %s", error)
            await stock(self)

    storage._clone_repo = clone_repo


def _check_out(snapshots: Snapshots, storage: Any) -> None:
    if storage._include_submodules:
        raise CloneUnavailableError("submodules are cloned each time")
    plain = strip_auth_from_url(storage._url)
    repository = Repository(plain, storage._repository_url_with_credentials)
    revision = revision_of(repository, storage._branch, storage._commit_sha)
    target = Path(os.path.abspath(storage.destination))  # noqa: PTH100 - links stay as they are
    snapshots.check_out(repository, revision, storage._directories or [], target)
