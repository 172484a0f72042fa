"""``python3 -m local COMMAND``: runs one command of the host; see ``make help``."""

import argparse
import signal
import sys
from types import FrameType

from local.compose_mode import ComposeMode
from local.console import Console
from local.engine import find_engine
from local.errors import CommandError
from local.knobs import Knobs

COMMANDS = ("up", "down", "logs", "status", "deploy", "clean")


def run(command: str) -> int:
    """Run one command and return its exit code.

    Raises:
        CommandError: It could not; the message is for the user.
    """
    knobs, console = Knobs.read(), Console()
    engine = find_engine()
    mode = ComposeMode(knobs, console)
    if command == "up":
        console.step(f"{engine.description}: starting the platform in containers")
        return mode.up()
    if command == "down":
        mode.down()
        return 0
    if command == "clean":
        mode.clean()
        return 0
    if command == "logs":
        return mode.logs()
    if command == "status":
        return mode.status()
    return mode.deploy()


def main() -> None:
    """Run the command of the command line; a mistake is one sentence and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python3 -m local", description="The commands of the host (`make help`)."
    )
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    signal.signal(signal.SIGTERM, _interrupt)  # a terminated command cleans up as an interrupted one does
    try:
        sys.exit(run(command))
    except CommandError as error:
        sys.exit(f"make {command}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
