"""``make destroy``: deletes the platform with all its data, after the user has confirmed."""

import os
import shutil
from collections.abc import Sequence

from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.errors import CommandError
from local.processes.process_mode import ProcessMode
from local.processes.services import STATE


def destroy(name: str, containers: ComposeMode | None, processes: ProcessMode, console: Console) -> None:
    """Stop the platform and delete its data: runs, deployments, secrets, logs.

    Args:
        name: The platform's name, which the user types to confirm.
        containers: The platform in containers; ``None`` if no engine answers.
        processes: The platform as local processes.
        console: Where progress is shown.

    Raises:
        CommandError: The user did not confirm, the data is another checkout's, or it cannot be deleted.
    """
    of_containers = containers.held() if containers else ""
    of_processes = f"{STATE}: database, secrets, warehouse, logs" if STATE.exists() else ""
    if not of_containers and not of_processes:
        console.say("There is nothing to delete.")
        return
    if containers and of_containers:
        containers.check_is_here()
    confirm(name, [words for words in (of_processes, of_containers) if words], console)
    if of_processes:
        processes.down()
        try:
            shutil.rmtree(STATE)
        except OSError as error:
            file, reason = error.filename or STATE, error.strerror or error
            raise CommandError(f"{file} cannot be deleted: {reason}") from None
    if containers and of_containers:
        containers.destroy()


def confirm(name: str, what: Sequence[str], console: Console) -> None:
    """Have the user type the platform's name, unless ``YES=1`` confirms without a user.

    Args:
        name: The platform's name.
        what: What will be deleted, in words.
        console: Where that is shown.

    Raises:
        CommandError: Something else was typed, or nothing.
    """
    console.say("This permanently deletes the following; backups/ and .env stay:")
    for one in what:
        console.say(f"  {one}")
    if os.environ.get("YES") == "1":
        return
    try:
        typed = input(f"Type {name} to go on: ").strip()
    except EOFError:
        console.say()
        typed = ""
    if typed != name:
        raise CommandError(f"{name} was not typed, so nothing was deleted; in a script, set YES=1")
