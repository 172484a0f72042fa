"""One attached worker: its settings, places and login, from the command line and from before."""

import argparse
import dataclasses
import os
import socket
import sys
from pathlib import Path

from attach.errors import AttachError
from attach.folder import CHECKOUT, write_private
from attach.git import origin_of
from attach.options import default_pool
from attach.places import Places, default_parent, is_usable_name, name_of_host
from attach.server import Server, api_url
from attach.settings import (
    AUTH_STRING,
    VARIABLES,
    Settings,
    checked_auth_string,
    load,
    merged,
    number,
    read_auth_string,
    read_environment_file,
    save,
)

LEAST_GRACE_SECONDS = 15  # the worker's own limit


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One worker on this machine.

    Attributes:
        settings: How it is attached.
        places: Its files.
        auth_string: The login of its server's API; empty for none.
        was_attached: Whether the settings were remembered from before.
    """

    settings: Settings
    places: Places
    auth_string: str = dataclasses.field(default="", repr=False)
    was_attached: bool = False

    @property
    def server(self) -> Server:
        """The worker's Prefect server."""
        return Server(self.settings.server, self.auth_string)

    def remember(self) -> None:
        """Keep settings and login in the worker's folder."""
        write_private(Path(self.places.auth_string), self.auth_string)
        save(self.settings, Path(self.places.settings))


def resolve(options: argparse.Namespace) -> Attachment:
    """Return the worker that the command line, the environment file and the worker's folder describe.

    Raises:
        AttachError: An option cannot be used, or the server is not known.
    """
    given = {name: value for name, value in vars(options).items() if isinstance(value, str)}
    from_file = read_environment_file(Path(options.env_file)) if options.env_file else {}
    name = given.get("name") or from_file.get(VARIABLES["name"]) or name_of_host(socket.gethostname())
    if not is_usable_name(name):
        raise AttachError(
            f"--name {name!r}: use letters, digits, dots, dashes and underscores, and no dot or dash first"
        )
    places = Places(_folder(options, name))
    remembered = load(Path(places.settings))
    values = merged(given, from_file, remembered)
    if remembered and not given.get("name"):
        name = remembered.name
    if not values["server"]:
        raise AttachError(
            f"no worker is attached in {places.home}; give --server the Prefect server's address"
        )
    known = {*VARIABLES.values(), AUTH_STRING}
    further = {name: value for name, value in from_file.items() if name not in known}
    settings = Settings(
        server=api_url(values["server"]),
        pool=values["pool"] or default_pool(),
        name=name,
        limit=int(number(values["limit"] or "10", "--limit", whole=True)),
        query_seconds=number(values["query_seconds"] or "2", "--query-seconds", whole=False),
        grace_seconds=_grace(values["grace_seconds"]),
        flows_git_url=values["flows_git_url"] or origin_of(str(CHECKOUT)),
        flows_git_ref=values["flows_git_ref"],
        yeedu_url=values["yeedu_url"],
        environment=_environment(values["environment"]),
        extras=values["extras"],
        variables=further or (remembered.variables if remembered else {}),
        scope=remembered.scope if remembered else "",
    )
    return Attachment(settings, places, _auth_string(values, from_file, places), remembered is not None)


def _folder(options: argparse.Namespace, name: str) -> Path:
    if options.folder:
        return Path(options.folder).absolute()
    is_system = options.scope == "system" and sys.platform != "win32"
    parent = default_parent(os.environ, windows=sys.platform == "win32", system=is_system)
    return Path(parent) / name


def _grace(text: str) -> int:
    """Return the seconds that a worker has to stop in, of which its own way of stopping needs some.

    Raises:
        AttachError: It is not a number of seconds, or too small a one.
    """
    seconds = int(number(text or "30", "--grace-seconds", whole=True))
    if seconds < LEAST_GRACE_SECONDS:
        raise AttachError(f"--grace-seconds={text!r} is less than {LEAST_GRACE_SECONDS}")
    return seconds


def _environment(folder: str) -> str:
    return str(Path(folder).absolute()) if folder else ""


def _auth_string(values: dict[str, str], from_file: dict[str, str], places: Places) -> str:
    """Return the login: of the named file, of the environment file, or the one that is kept."""
    if values["auth_string_file"]:
        return read_auth_string(Path(values["auth_string_file"]))
    if from_file.get(AUTH_STRING):
        return checked_auth_string(from_file[AUTH_STRING], f"{AUTH_STRING} of the environment file")
    kept = Path(places.auth_string)
    if not kept.exists() or not kept.stat().st_size:
        return ""
    return read_auth_string(kept)
