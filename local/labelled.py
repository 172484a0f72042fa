"""Remove what carries a Compose project's label: also what belongs to a file that the project has no more."""

import subprocess

from local.errors import CommandError

_SECONDS = 120
_KINDS = (
    (("ps", "--all"), ("rm", "--force", "--volumes")),
    (("volume", "ls"), ("volume", "rm", "--force")),
    (("network", "ls"), ("network", "rm")),
)


def remove_labelled(project: str) -> None:
    """Remove a project's containers, volumes and networks.

    Raises:
        CommandError: One of them cannot be removed; the engine says why.
    """
    label = ("--filter", f"label=com.docker.compose.project={project}", "--quiet")
    for listing, removal in _KINDS:
        if found := _docker(*listing, *label).split():
            _docker(*removal, *found)


def _docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise CommandError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done.stdout
