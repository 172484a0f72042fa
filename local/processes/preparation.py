"""Prepares what local processes need before they start: secrets, the flows' repository, the UI's files."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from local.console import Console
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS, files_digest
from local.processes.services import SECRETS, STATE, UI
from local.script import load_script
from local.settings.platform import ROOT, Settings

_GENERATED_MODE = 0o600


def check_machine() -> None:
    """Refuse a machine that local processes cannot run on.

    Raises:
        CommandError: The system is Windows, or git is missing.
    """
    if os.name != "posix":
        raise CommandError(
            "local processes need Linux or macOS; on Windows, start Docker Desktop and try again"
        )
    if not shutil.which("git"):
        raise CommandError(
            "git is missing: flows are cloned with it; install it, for example: apt-get install git"
        )


def prepare_secrets(settings: Settings) -> None:
    """Generate each secret once, or take the user's, as the service ``secrets`` does; others cannot read it.

    Raises:
        CommandError: A configured secret cannot be used, or `check_login` refuses.
    """
    script = load_script(ROOT / "server" / "generate_secrets.py")
    names = [secret.setting for secret in script.SECRETS]
    SECRETS.mkdir(parents=True, exist_ok=True)
    SECRETS.chmod(0o700)
    for secret in script.SECRETS:
        (SECRETS / secret.folder).mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SECRETS) as files:
        for name in names:
            offer_file(settings, name, Path(files))
        check_login(settings)
        try:
            values = {name: value for name in names if (value := settings.get(name).strip())}
            script.write_secrets(SECRETS, values, Path(files))
        except script.SecretError as error:
            raise CommandError(str(error)) from None
    for file in SECRETS.glob("*/*"):
        file.chmod(_GENERATED_MODE)


def check_login(settings: Settings) -> None:
    """Refuse an API that would be open to others without a login, or with one that is easy to guess.

    Raises:
        CommandError: The API would be open; the message says what to set.
    """
    script = load_script(ROOT / "server" / "generate_secrets.py")
    try:
        script.check_one_login(settings.auth_string(), settings.api_key())
        if not settings.other_server:
            script.check_own_server(settings.bind_address, settings.auth_string(), settings.ui_url)
    except script.SecretError as error:
        raise CommandError(str(error)) from None


def offer_file(settings: Settings, name: str, folder: Path) -> None:
    """Link the file that a ``NAME_FILE`` setting names into the folder where the script looks for it."""
    file = settings.path(f"{name}_FILE")
    if not file:
        return
    if not file.is_file() and str(file) != os.devnull:
        raise CommandError(f"{name}_FILE={file}: there is no such file")
    (folder / name).symlink_to(file.absolute())


def prepare_flows(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the address from which runs clone this checkout, and a sentence about it.

    Runs clone the live checkout if git can clone it, else a snapshot of its files.

    Raises:
        CommandError: Neither is possible, or git is missing.
    """
    script = load_script(ROOT / "git-server" / "snapshot.py")
    target = STATE / "flows.git"
    try:
        published = script.publish(ROOT, target)
        if published.snapshot_reason is None:
            if _is_clonable(ROOT.as_uri(), environment):
                return ROOT.as_uri(), published.describe(ROOT)
            target.unlink()  # a link to the checkout, which git refuses to clone: another user owns it
            reason = "another user owns it, so that git refuses to clone it"
            published = script.Published(target, reason, script.take_snapshot(ROOT, target))
    except script.CheckoutError as error:
        raise CommandError(str(error)) from None
    return target.as_uri(), published.describe(ROOT)


def _is_clonable(url: str, environment: Mapping[str, str]) -> bool:
    asked = subprocess.run(
        ["git", "ls-remote", url, "HEAD"], env=environment, capture_output=True, check=False
    )
    return asked.returncode == 0


def prepare_ui(environment: Mapping[str, str], console: Console) -> None:
    """Unpack Prefect's UI once for each version, as the build of the server's image does.

    Raises:
        CommandError: It cannot be unpacked.
    """
    script = ROOT / "server" / "prepare_ui.py"
    digest = files_digest([ROOT / "requirements" / "server.txt", script])
    stamp = UI / "prepared"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return
    console.step("ui: unpacking")
    done = subprocess.run(
        [PROGRAMS / "python", script, UI],
        env={**environment, "PREFECT_HOME": str(STATE / "server")},
        cwd=STATE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandError(
            f"server/prepare_ui.py failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )
    stamp.write_text(digest, encoding="utf-8")
