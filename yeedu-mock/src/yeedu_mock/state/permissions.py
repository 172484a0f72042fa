"""Decides what a user may do in a workspace, from viewing it to managing who else may.

The samples' workspaces are open to their tenants until somebody is given access to one. A new workspace can
be managed only by the user who created it. Administrators may do everything.
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
    """Return the permission that a request below `/workspace/{workspace_id}` needs."""
    if method == "GET":
        return WorkspacePermission.VIEW
    if OF_RUNS.search(path) or (method == "POST" and STARTS_OR_CREATES.search(path)):
        return WorkspacePermission.RUN
    return WorkspacePermission.EDIT


def permission_of(store: Store, user: User, workspace: Workspace) -> WorkspacePermission | None:
    """Return a user's highest permission in a workspace of one of the user's tenants; None without any."""
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
