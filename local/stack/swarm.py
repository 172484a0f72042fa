"""Queries the Swarm through this machine's Docker engine."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from local.errors import CommandError

JSON = dict[str, Any]


def docker(*arguments: str, content: str | None = None) -> str:
    """Return what a docker command prints.

    Args:
        arguments: The command's arguments, none of which may be a secret.
        content: What it reads; nothing by default.

    Raises:
        CommandError: It failed; the message has the last line of its error output.
    """
    done = subprocess.run(
        ["docker", *arguments],
        input=content,
        stdin=None if content is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise CommandError(f"docker {' '.join(arguments[:2])}: {lines[-1] if lines else done.returncode}")
    return done.stdout


def inspected(kind: str, names: Sequence[str]) -> list[JSON]:
    """Return the Swarm's descriptions of nodes, secrets or services; none if there are no names."""
    return json.loads(docker(kind, "inspect", *names)) if names else []


def this_node() -> str:
    """Return the id of this machine's node.

    Raises:
        CommandError: It is in no Swarm, or not a manager of it.
    """
    swarm = json.loads(docker("info", "--format", "{{json .Swarm}}"))
    if swarm.get("LocalNodeState") != "active":
        raise CommandError("this machine is in no Swarm; `docker swarm init` makes one of it: docs/swarm.md")
    if not swarm.get("ControlAvailable"):
        raise CommandError("this machine's node is no manager of its Swarm; run this on one that is")
    return swarm["NodeID"]


def label_nodes(labels: Sequence[str], node: str) -> list[str]:
    """Make sure that one node has each label, by default this one; return the labels that are new.

    Args:
        labels: The labels that lead services to the node of their data.
        node: This machine's node.

    Raises:
        CommandError: Two nodes have the same label, so the data could be on either.
    """
    nodes = inspected("node", docker("node", "ls", "--quiet").split())
    new: list[str] = []
    for label in labels:
        having = [one for one in nodes if label in one["Spec"].get("Labels", {})]
        if len(having) > 1:
            names = " and ".join(one["Description"]["Hostname"] for one in having)
            raise CommandError(
                f"{names} have the label {label}, and what it stands for is on one of them; take it from the "
                f"others: docker node update --label-rm {label} NODE"
            )
        if not having:
            new.append(label)
    if new:
        docker("node", "update", *(f"--label-add={label}=here" for label in new), node)
    return new
