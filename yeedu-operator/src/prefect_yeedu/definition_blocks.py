"""Resolves a job or notebook by address, id or name; used by the blocks and the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.calls import YeeduCall
from prefect_yeedu.models import RunKind
from prefect_yeedu.options import make_request
from prefect_yeedu.urls import Target, YeeduURL, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect_yeedu.credentials import YeeduCredentials
    from prefect_yeedu.options import OptionFields


def make_call(
    kind: RunKind,
    which: int | str,
    workspace: int | None,
    credentials: YeeduCredentials,
    options: Mapping[str, object] | OptionFields,
) -> YeeduCall:
    """Return the call that runs a job or notebook.

    Args:
        kind: Job or notebook.
        which: Its address, or its id or name in a workspace.
        workspace: The workspace's id; not needed with an address.
        credentials: The Yeedu to call, and the login.
        options: Options of the run, by name or as a model.

    Raises:
        YeeduConfigurationError: Something is missing or invalid.
    """
    request = make_request(options)
    found = find_target(kind, which, workspace)
    access = credentials.access()
    if isinstance(found, YeeduURL):
        return YeeduCall(access.to(found), found.target, request, access.note, access.blocks)
    return YeeduCall(credentials.connection(access), found, request, access.note, access.blocks)


def find_target(kind: RunKind, which: int | str, workspace: int | None) -> YeeduURL | Target:
    """Return the target that an address, id or name refers to.

    Raises:
        YeeduConfigurationError: It does not refer to a target of this kind.
    """
    if not is_address(which):
        return Target.definition(kind, which, workspace)
    url = parse_url(str(which))
    if url.target.kind != kind:
        other = (
            "run_yeedu_notebook and YeeduNotebook" if kind is RunKind.JOB else "run_yeedu_job and YeeduJob"
        )
        hint = f"; {other} take it" if url.kind in {*RunKind} else ""
        raise YeeduConfigurationError(f"The address is not one of a {kind}{hint}: give the {kind}'s own.")
    return url


def is_address(which: int | str) -> bool:
    """Return whether this is an address, and not an id or a name."""
    return isinstance(which, str) and "://" in which
