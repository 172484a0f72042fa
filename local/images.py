"""Has every image on this machine before containers start: built, pulled, or those that are there."""

import sys

from local.console import Console
from local.engine import Project
from local.errors import CommandError
from local.knobs import Knobs


def bring_images(project: Project, knobs: Knobs, console: Console) -> None:
    """Build what changed, or pull what a registry has and this machine lacks.

    Raises:
        CommandError: An image cannot be had.
    """
    # The image of Postgres is the warehouse's even where the database is elsewhere.
    missing = ("pull", "--quiet", "--policy", "missing")
    if knobs.registry:
        console.step(f"images: pulling from {knobs.registry} what is missing; none is built")
        steps = [missing]
    elif knobs.builds_images:
        console.step("images: building what changed; the first time takes a few minutes")
        build = ("build",) if sys.stdout.isatty() else ("build", "--quiet")  # no bars for a file
        steps = [(*missing, "warehouse"), build]
    else:
        console.step("images: taking those that are there (IMAGE_POLICY=never)")
        steps = [(*missing, "warehouse")]
    for arguments in steps:
        code = project.run(*arguments)
        if code:
            raise CommandError(
                f"`docker compose {arguments[0]}` failed with code {code}; its last lines say why"
            )
