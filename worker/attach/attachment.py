"""One attached worker: its settings, paths and login, from the command line or as saved."""

import argparse
import dataclasses
import os
import re
import socket
import sys
from pathlib import Path

from attach.errors import AttachError
from attach.folder import CHECKOUT, write_private
from attach.git import origin_of
from attach.options import default_pool
from attach.paths import Paths, default_parent, is_usable_name, name_of_host
from attach.server import Server, api_url
from attach.settings import (
    API_KEY,
    AUTH_STRING,
    CERTIFICATES,
    VARIABLES,
    Settings,
    checked_api_key,
    checked_auth_string,
    load,
    merged,
    number,
    read_api_key,
    read_auth_string,
    read_environment_file,
    save,
)

MIN_GRACE_SECONDS = 15  # the worker's own limit


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One worker on this machine.

    Attributes:
        settings: How it is attached.
        paths: Its files.
        auth_string: The login of its server's API; empty for none.
        api_key: The key of its server's API; empty for none, or if a login is used.
        was_attached: Whether saved settings were found.
    """

    settings: Settings
    paths: Paths
    auth_string: str = dataclasses.field(default="", repr=False)
    api_key: str = dataclasses.field(default="", repr=False)
    was_attached: bool = False

    @property
    def server(self) -> Server:
        """The worker's Prefect server."""
        return Server(self.settings.server, self.auth_string, self.api_key)

    def remember(self) -> None:
        """Save settings, login and key in the worker's folder."""
        write_private(Path(self.paths.auth_string), self.auth_string)
        write_private(Path(self.paths.api_key), self.api_key)
        save(self.settings, Path(self.paths.settings))


def resolve(options: argparse.Namespace) -> Attachment:
    """Return the worker that the command line, the environment file and the worker's folder describe.

    Raises:
        AttachError: An option cannot be used, or the server is not known.
    """
    given = {name: value for name, value in vars(options).items() if isinstance(value, str)}
    if getattr(options, "work_queue", None):
        given["work_queues"] = _queues(options.work_queue)
    from_file = read_environment_file(Path(options.env_file)) if options.env_file else {}
    name = given.get("name") or from_file.get(VARIABLES["name"]) or name_of_host(socket.gethostname())
    if not is_usable_name(name):
        raise AttachError(
            f"--name {name!r}: use letters, digits, dots, dashes and underscores, and no dot or dash first"
        )
    paths = Paths(_folder(options, name))
    remembered = load(Path(paths.settings))
    values = merged(given, from_file, remembered)
    if remembered and not given.get("name"):
        name = remembered.name
    if not values["server"]:
        raise AttachError(
            f"no worker is attached in {paths.home}; give --server the Prefect server's address"
        )
    known = {*VARIABLES.values(), AUTH_STRING, API_KEY}
    further = {name: value for name, value in from_file.items() if name not in known}
    config_dir = _absolute(values["config_dir"])
    own = read_environment_file(Path(config_dir, "flows.env")) if _has_variables(config_dir) else {}
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
        environment=_absolute(values["environment"]),
        extras=values["extras"],
        config_dir=config_dir,
        variables={
            **(remembered.variables if remembered and not (own or further) else {}),
            **own,
            **{name: os.environ[name] for name in CERTIFICATES if os.environ.get(name)},
            **further,
        },
        scope=remembered.scope if remembered else "",
        work_queues=values["work_queues"],
    )
    auth_string, api_key = _login(values, from_file, paths)
    return Attachment(settings, paths, auth_string, api_key, remembered is not None)


def _folder(options: argparse.Namespace, name: str) -> Path:
    if options.folder:
        return Path(options.folder).absolute()
    is_system = options.scope == "system" and sys.platform != "win32"
    parent = default_parent(os.environ, windows=sys.platform == "win32", system=is_system)
    return Path(parent) / name


def _queues(names: list[str]) -> str:
    """Return the queues as they are saved; a single empty name goes back to every queue.

    Raises:
        AttachError: A name has a comma, or a character that Prefect does not allow in names.
    """
    for name in names:
        if re.search(r"[,/%&<>]", name) or not (name.strip() or len(names) == 1):
            raise AttachError(f"--work-queue {name!r}: the name of a queue has none of , / % & < >")
    return ",".join(name.strip() for name in names)


def _grace(text: str) -> int:
    """Return how many seconds a worker has to stop, which must include those of its own shutdown.

    Raises:
        AttachError: It is not a whole number of seconds, or too small.
    """
    seconds = int(number(text or "30", "--grace-seconds", whole=True))
    if seconds < MIN_GRACE_SECONDS:
        raise AttachError(f"--grace-seconds={text!r} is less than {MIN_GRACE_SECONDS}")
    return seconds


def _absolute(folder: str) -> str:
    return str(Path(folder).absolute()) if folder else ""


def _has_variables(config_dir: str) -> bool:
    """Tell whether a team's folder has a ``flows.env``.

    Raises:
        AttachError: There is no such folder.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise AttachError(f"--config-dir {config_dir}: there is no such folder")
    return bool(config_dir) and Path(config_dir, "flows.env").exists()


def _login(values: dict[str, str], from_file: dict[str, str], paths: Paths) -> tuple[str, str]:
    """Return the login and the key, at most one of them non-empty: what was given, else what is saved.

    Raises:
        AttachError: One cannot be read or used, or both are given.
    """
    auth_string = api_key = ""
    if values["auth_string_file"]:
        auth_string = read_auth_string(Path(values["auth_string_file"]))
    elif from_file.get(AUTH_STRING):
        auth_string = checked_auth_string(from_file[AUTH_STRING], f"{AUTH_STRING} of the environment file")
    if values["api_key_file"]:
        api_key = read_api_key(Path(values["api_key_file"]))
    elif from_file.get(API_KEY):
        api_key = checked_api_key(from_file[API_KEY], f"{API_KEY} of the environment file")
    if auth_string and api_key:
        raise AttachError("a login and an API key are given; remove one of them")
    return (auth_string, api_key) if auth_string or api_key else kept_login(paths)


def kept_login(paths: Paths) -> tuple[str, str]:
    """Return the login and the key saved in the worker's folder; an empty string for one that is not.

    Raises:
        AttachError: One cannot be read or used.
    """
    login, key = Path(paths.auth_string), Path(paths.api_key)
    return (read_auth_string(login) if _is_kept(login) else "", read_api_key(key) if _is_kept(key) else "")


def _is_kept(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0
