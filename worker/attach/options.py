"""Parses the program's command line."""

import argparse
import sys
from typing import NoReturn

COMMANDS = {
    "check": "check everything that the worker needs, and change nothing",
    "run": "check, make the environment, and run the worker here until Ctrl-C",
    "install": "the same as a service, which outlives this terminal and the machine's next start",
    "status": "show the attached worker's status",
    "detach": "stop it and remove its service, its folder, and its record on the server",
    "serve": "",  # what a service runs
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one sentence."""
        self.exit(1, f"attach: {message}; see --help\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; exit with one sentence if they are wrong."""
    parser = _Parser(
        prog="attach", description="Attaches this machine to a work pool of a Prefect server, as a worker."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, description in COMMANDS.items():
        if name == "serve":
            command = commands.add_parser(name)
            command.add_argument("--folder", required=True)
            continue
        command = commands.add_parser(name, help=description, description=f"{description.capitalize()}.")
        _add_identity(command)
        if name in {"check", "run", "install"}:
            _add_settings(command)
        if name == "detach":
            command.add_argument(
                "--forget",
                action="store_true",
                help="remove what is on this machine even when the server cannot be reached",
            )
        if name == "run":
            command.add_argument(
                "--temporary",
                action="store_true",
                help="detach when stopped, as in a container that goes as a whole",
            )
        if name == "install":
            command.add_argument(
                "--run-as",
                metavar="USER",
                help="with --scope system on Linux: who the flows run as",
            )
    return parser.parse_args(arguments)


def _add_identity(command: argparse.ArgumentParser) -> None:
    """Add the options that name the worker and say how to reach its server."""
    windows = sys.platform == "win32"
    command.add_argument("--name", help="the worker's name on the server (default: this machine's name)")
    command.add_argument("--folder", help="the worker's folder (default: one in the user's own data folder)")
    command.add_argument(
        "--scope",
        choices=("user", "system"),
        help="a service of the user, or of the machine (default: user)"
        + (
            "; user starts at log-on, system at the machine's start and needs an administrator"
            if windows
            else ""
        ),
    )
    command.add_argument(
        "--server", metavar="URL", help="the Prefect server, for example http://prefect:8080"
    )
    command.add_argument("--pool", help=f"the work pool (default: {default_pool()})")
    command.add_argument(
        "--auth-string-file", metavar="FILE", help="holds the server's login, user:password, if it has one"
    )
    command.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="holds the server's API key, if it has one, as Prefect Cloud has",
    )
    command.add_argument(
        "--env-file", metavar="FILE", help="NAME=value lines: these settings, and variables for the flows"
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--work-queue",
        metavar="NAME",
        action="append",
        help="a queue of the pool; give it again for another one (default: every queue)",
    )
    command.add_argument(
        "--limit", metavar="NUMBER", help="the maximum number of concurrent flow runs (default: 10)"
    )
    command.add_argument("--query-seconds", metavar="SECONDS", help="between two polls for work (default: 2)")
    command.add_argument(
        "--grace-seconds",
        metavar="SECONDS",
        help="until a worker that was asked to stop is killed; its runs may end meanwhile (default: 30)",
    )
    command.add_argument(
        "--flows-git-url",
        metavar="URL",
        help="the flows' repository as this machine reaches it (default: where this checkout came from)",
    )
    command.add_argument(
        "--flows-git-ref", metavar="NAME", help="its branch or tag (default: the repository's own default)"
    )
    command.add_argument("--yeedu-url", metavar="URL", help="Yeedu's REST API, to check that it answers")
    command.add_argument(
        "--environment",
        metavar="FOLDER",
        help="a Python environment that has the operator, instead of making one",
    )
    command.add_argument(
        "--extras",
        metavar="NAMES",
        help="further packages for flows: names of requirements/extras, such as etl",
    )
    command.add_argument(
        "--config-dir",
        metavar="FOLDER",
        help="a team's CONFIG_DIR: its packages, and the variables of its flows.env (docs/configuration.md)",
    )
    command.add_argument(
        "--wheels", metavar="FOLDER", help="install from the wheels in this folder, without a package index"
    )
    command.add_argument("--anyway", action="store_true", help="go on although a check found something wrong")


def default_pool() -> str:
    """Return the default work pool of a machine of this kind."""
    return "windows-pool" if sys.platform == "win32" else "yeedu-pool"
