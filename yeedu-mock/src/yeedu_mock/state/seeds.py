"""Fills an empty store with the tenants, the user and the samples that every new mock has."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from yeedu_mock.state.passwords import hash_password
from yeedu_mock.state.records import (
    Cluster,
    JobDefinition,
    NotebookDefinition,
    Tenant,
    User,
    Workspace,
    WorkspaceCluster,
)

if TYPE_CHECKING:
    from yeedu_mock.state.store import Store

DEMO_TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
DEMO_WORKSPACE_ID = 1
OTHER_TENANT = "8d3f1a90-7c44-4f0b-b1de-2f6a9c5e7b10"
OTHER_WORKSPACE_ID = 2
FIRST_FREE_ID = 1001

SAMPLE_JOBS = {101: "hello_job", 102: "failing_job", 103: "long_job"}
SAMPLE_NOTEBOOKS = {201: "hello_notebook", 202: "failing_notebook"}


def seed(store: Store, username: str, password: str) -> None:
    """Add the seeds to an empty store; if it already has them, only set the user's password.

    Args:
        store: The store to fill.
        username: The user who may log in.
        password: That user's password.
    """
    if store.get(Workspace, DEMO_WORKSPACE_ID) is None:
        _seed_demo_tenant(store)
    user = next((user for user in store.all(User) if user.username == username), None)
    if user is not None:
        user.password_hash = hash_password(password)
        store.save(user)
    else:
        store.add(
            User(
                username=username,
                password_hash=hash_password(password),
                tenants=[DEMO_TENANT, OTHER_TENANT],
                is_admin=True,
            )
        )


def _seed_demo_tenant(store: Store) -> None:
    store.add(Workspace(id=DEMO_WORKSPACE_ID, tenant=DEMO_TENANT, name="demo", description="Samples to run."))
    store.add(Workspace(id=OTHER_WORKSPACE_ID, tenant=OTHER_TENANT, name="other"))
    store.add(Tenant(id=10, uuid=DEMO_TENANT, name="demo"))
    store.add(Tenant(id=11, uuid=OTHER_TENANT, name="other"))
    store.add(Cluster(id=30, tenant=DEMO_TENANT, name="demo-cluster"))
    store.add(Cluster(id=31, tenant=DEMO_TENANT, name="larger-cluster"))
    for number, cluster_id in enumerate((30, 31)):
        store.add(WorkspaceCluster(id=40 + number, workspace_id=DEMO_WORKSPACE_ID, cluster_id=cluster_id))
    for identifier, name in SAMPLE_JOBS.items():
        store.add(
            JobDefinition(
                id=identifier,
                workspace_id=DEMO_WORKSPACE_ID,
                name=name.replace("_", "-"),
                cluster_id=30,
                program=_sample(f"{name}.py"),
            )
        )
    for identifier, name in SAMPLE_NOTEBOOKS.items():
        store.add(
            NotebookDefinition(
                id=identifier,
                workspace_id=DEMO_WORKSPACE_ID,
                name=name.replace("_", "-"),
                cluster_id=30,
                content=json.loads(_sample(f"{name}.json")),
            )
        )
    store.reserve_ids(FIRST_FREE_ID)


def _sample(name: str) -> str:
    return (resources.files("yeedu_mock") / "samples" / name).read_text(encoding="utf-8")
