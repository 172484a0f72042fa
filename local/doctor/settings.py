"""Checks the settings as a whole, and the secret files that they name."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from local.backup.schedule import scheduled_backups
from local.doctor import env_file
from local.doctor.env_file import is_secret, known_names
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import Site
from local.errors import CommandError
from local.install.packages import further_locks, own_certificate, package_index
from local.processes.preparation import check_login
from local.settings.other_server import check_other_server
from local.settings.own_database import check_own_database
from local.settings.scale import check_scale
from local.settings.tls import check_tls, other_port

USER_OF_IMAGES = 10001


def check_settings(site: Site) -> Iterator[Finding]:
    """Check everything that `make up` checks about the settings before it starts."""
    in_containers = site.engine.is_usable and not site.is_process_form
    settings = site.settings
    questions = (
        lambda: (
            settings.prefect_port,
            settings.mock_port,
            settings.bind_address,
            settings.builds_images,
            settings.other_server,
        ),
        lambda: check_own_database(settings, in_containers=in_containers),
        lambda: check_other_server(settings, in_containers=in_containers),
        lambda: check_scale(settings.values, site.root, in_containers=in_containers),
        lambda: check_tls(settings, in_containers=in_containers),
        lambda: settings.tls_http_port,
        lambda: own_certificate(settings),
        lambda: package_index(settings),
        settings.own_variables,
        lambda: further_locks(settings),
        lambda: scheduled_backups(settings),
        lambda: check_login(settings),
    )
    troubles = [site.trouble] if site.trouble else []
    for ask in questions:
        try:
            ask()
        except CommandError as error:
            troubles.append(str(error))
    for trouble in dict.fromkeys(troubles):
        yield wrong(trouble, "set it as that says, then `make up`")
    if not troubles:
        if where := other_port(settings):
            yield note(
                where, "nothing, where something on the way leads there; else PREFECT_UI_URL, PREFECT_PORT"
            )
        yield ok("the settings go together")


def check_secret_files(site: Site) -> Iterator[Finding]:
    """Check that the files with secrets exist, and that only those who need them may read them."""
    looked = 0
    names = sorted(
        name for name in known_names(site.root) if name.endswith("_FILE") and site.settings.get(name)
    )
    for name in names:
        file = site.settings.path(name)
        if name in {"PREFECT_FILE", "COMPOSE_FILE"} or file is None or str(file) == os.devnull:
            continue
        looked += 1
        secret = name.removesuffix("_FILE")
        if not file.is_file():
            yield wrong(f"{name}={file}: there is no such file", f"put it there, or correct {name} in .env")
        elif site.items and not _containers_may_read(file):
            yield wrong(f"{name}={file}: the containers' users may not read it", f"chmod a+r {file}")
        elif not file.stat().st_size:
            yield wrong(
                f"{name}={file} is empty, so that it counts as unset",
                f"write the value into it, or remove {name}",
            )
        if is_secret(secret) and site.settings.get(secret):
            yield wrong(f"{secret} and {name} are both set", "remove one of them")
    folder = site.state / "secrets"
    if os.name == "posix" and folder.is_dir():
        looked += 1
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield wrong(f"others on this machine may look into {folder}", f"chmod 700 {folder}")
    if looked:
        yield ok(f"{looked} files of secrets were checked")


def _containers_may_read(file: Path) -> bool:
    """Tell whether the images' user may read a file; on Windows and macOS the engine's machine lets it."""
    found = file.stat()
    mine = found.st_uid == USER_OF_IMAGES and found.st_mode & 0o400
    of_group = found.st_gid == USER_OF_IMAGES and found.st_mode & 0o040
    return sys.platform != "linux" or bool(mine or of_group or found.st_mode & 0o004)


THEME = Theme(
    "settings",
    (
        *env_file.CHECKS,
        Check(
            "settings",
            "what `make up` asks before it starts: ports, login and bind address, overlays, `CA_CERT_FILE`, "
            "`CONFIG_DIR`, locks",
            "`make up` would refuse",
            "what the sentence says",
            check_settings,
        ),
        Check(
            "secret-files",
            "the files that `..._FILE` settings name, and `.local/secrets`",
            "one is missing, empty, or not readable for the containers; the value is set too; others may "
            "look into `.local/secrets`",
            "`chmod`; the setting",
            check_secret_files,
        ),
    ),
)
