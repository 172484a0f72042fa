"""``make deploy`` and ``make plan`` against a platform that runs on another machine."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from local.console import Console, without_login
from local.errors import CommandError
from local.install.virtual_environment import install
from local.processes.services import Order, deployer_paths, own_flows_url, with_secrets
from local.settings.environments import EnvironmentSettings
from local.settings.platform import ROOT, Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SERVER_SECONDS = 15
# The other platform has blocks and alerts of its own and keeps them, so a deployment needs none of these.
_NOT_NEEDED = re.compile(r"(?:YEEDU_(?:PASSWORD|TOKEN)|WAREHOUSE_|ALERT_|FLOWS_GIT_TOKEN|GITHUB_TOKEN)\w*")


def address(settings: Settings) -> str:
    """Return the API's address that the shell sets, else that of ``.env``: perhaps another platform's."""
    return (os.environ.get("PREFECT_API_URL") or settings.other_server).rstrip("/")


def is_elsewhere(settings: Settings) -> bool:
    """Tell whether the shell's PREFECT_API_URL names a server other than this checkout's platform uses."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    parts = urlsplit(url)
    is_own = parts.hostname in _LOOPBACK and parts.port == settings.prefect_port
    return bool(parts.hostname) and not is_own and url != settings.other_server


def register(settings: EnvironmentSettings, console: Console, order: Order) -> int:
    """Register the deployments of this checkout's prefect.yaml, and return the deployer's exit code.

    Blocks, work pools and alerts stay as the server has them, and so does each parameter whose variable is
    not set here. The flows are read from the repository, as a worker reads them.

    Args:
        settings: The environment's settings, or the platform's.
        console: Where progress is shown.
        order: What to ask of the deployer.

    Raises:
        CommandError: The environment cannot be installed, the flows' repository is unknown, or there are two
            logins for one server.
    """
    url = own_flows_url(settings) or _origin()
    if not url:
        raise CommandError(
            "this checkout has no git remote `origin`; set FLOWS_GIT_URL to the repository of the flows"
        )
    install(console, settings, for_development=False)
    revision = settings.get("FLOWS_GIT_REF")
    shown = without_login(url)
    console.step(f"flows: as pushed to {shown}{f', {revision}' if revision else ''}")
    with TemporaryDirectory(prefix="yeedu-prefect-") as private:  # private to this user
        variables = {
            **settings.own_variables(),
            **_variables(settings),
            **deployer_paths(settings),
            "FLOWS_GIT_URL": url,
        }
        variables["CA_CERT_FILE"] = str(settings.ca_file() or os.devnull)
        if token := settings.secret("FLOWS_GIT_TOKEN"):
            file = Path(private) / "git-token"
            file.touch(mode=0o600)
            file.write_text(token, encoding="utf-8")
            variables["FLOWS_GIT_TOKEN_FILE"] = str(file)
        options = ("--deployments-only", f"--timeout={_SERVER_SECONDS}", *order.options)
        command = with_secrets("deployer", *replace(order, options=options).arguments)
        return subprocess.run(command, env=variables, cwd=ROOT, check=False).returncode


def _variables(settings: EnvironmentSettings) -> dict[str, str]:
    """Return the deployer's environment: the shell's, and the settings for flows and for the server.

    A login or key is sent only to the server that it belongs to: with an address from the shell, only the
    shell's. An empty variable is left out: it means that the setting is unknown here, not that it is empty.
    """
    known = re.compile(r"FLOWS_GIT_\w+|YEEDU_\w+|PREFECT_API_\w+|PREFECT_UI_URL")
    of_shell = "PREFECT_" if os.environ.get("PREFECT_API_URL") else " "
    found = {**os.environ} | {
        name: value
        for name, value in settings.values.items()
        if known.fullmatch(name) and not name.startswith(of_shell)
    }
    logins = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
    if all(found.get(name) or found.get(f"{name}_FILE") for name in logins):
        raise CommandError(f"{' and '.join(logins)} are both set; a server accepts only one of them")
    api = address(settings)
    found["PREFECT_API_URL"] = api if urlsplit(api).path else f"{api}/api"
    found.setdefault("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")
    return {
        name: value
        for name, value in found.items()
        if not _NOT_NEEDED.fullmatch(name) and (value or not known.fullmatch(name))
    }


def _origin() -> str:
    """Return the address that this checkout was cloned from; empty when there is none."""
    asked = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
