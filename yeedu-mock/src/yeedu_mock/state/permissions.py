"""What a user may do in a workspace, from looking at it to deciding who else may.

The samples' workspaces are open to their tenants until somebody is given access to one; a workspace that
somebody makes is theirs to manage, and nobody else's. Administrators may do everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.records import Group, WorkspaceAccess

if TYPE_CHECKING:
    from yeedu_mock.state.records import User, Workspace
    from yeedu_mock.state.store import Store

OF_RUNS = re.compile(r"/(?:run|kill|kernel|update)(?:/|$)")
"""Paths below a workspace's that are about runs: an update keeps the outputs of one."""

STARTS_OR_CREATES = re.compile(r"/(?:spark/job|notebook)$")
"""Where v1 starts a run and v2 creates a definition, for which `create_definition` then asks more."""


DESCRIPTIONS = {
    WorkspacePermission.VIEW: "See jobs, notebooks, runs and files.",
    WorkspacePermission.RUN: "Run jobs and notebooks, too.",
    WorkspacePermission.EDIT: "Change jobs, notebooks and files, too.",
    WorkspacePermission.MANAGE: "Change the workspace and who has access to it, too.",
}


def permission_needed(method: str, path: str) -> WorkspacePermission:
    """Return what a request below `/workspace/{workspace_id}` needs; a websocket's method is `WS`."""
    if method == "GET":
        return WorkspacePermission.VIEW
    if OF_RUNS.search(path) or (method == "POST" and STARTS_OR_CREATES.search(path)):
        return WorkspacePermission.RUN
    return WorkspacePermission.EDIT


def permission_of(store: Store, user: User, workspace: Workspace) -> WorkspacePermission | None:
    """Return the highest permission that a user has in a workspace of a tenant of theirs."""
    if user.is_admin:
        return WorkspacePermission.MANAGE
    given = [access for access in store.all(WorkspaceAccess) if access.workspace_id == workspace.id]
    if not given and workspace.is_open:
        return WorkspacePermission.MANAGE
    groups = {group.id for group in store.all(Group) if user.id in group.members}
    return max(
        (access.permission for access in given if access.user_id == user.id or access.group_id in groups),
        default=None,
    )
