"""The command and the environment of the worker's process, as data."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import PurePath

from attach.paths import Paths, programs_of, python_of
from attach.settings import API_KEY, AUTH_STRING, CERTIFICATES, Settings

# Where programs and the user's own git settings are, language and time, certificates, proxies - and nothing
# that is private: a worker passes its whole environment to every flow.
_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ"),
        *CERTIFICATES,
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SSH_AUTH_SOCK", "GIT_SSH_COMMAND"),
    }
)
# Without these, programs of Windows do not start, or do not find their user.
_INHERITED_ON_WINDOWS = frozenset(
    {
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "PROCESSOR_ARCHITECTURE"),
        *("NUMBER_OF_PROCESSORS", "COMPUTERNAME", "USERNAME", "USERDOMAIN", "USERPROFILE", "HOMEDRIVE"),
        *("HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "ALLUSERSPROFILE", "PUBLIC"),
        *("PROGRAMFILES", "PROGRAMFILES(X86)", "PROGRAMW6432", "COMMONPROGRAMFILES", "PSMODULEPATH"),
    }
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def environment_of(settings: Settings, paths: Paths) -> PurePath:
    """Return the worker's Python environment: the one that the user named, or the one that is made for it."""
    return type(paths.home)(settings.environment) if settings.environment else paths.environment


def worker_command(settings: Settings, paths: Paths) -> list[str]:
    """Return the command line of the worker.

    Linux starts the platform's own worker. Windows can neither replace a process nor fork one, so there it is
    Prefect's.
    """
    environment = environment_of(settings, paths)
    if not paths.is_windows:
        return [str(programs_of(environment) / "yeedu-worker")]
    return [
        *(str(python_of(environment)), "-m", "prefect", "worker", "start", "--type", "process"),
        *("--pool", settings.pool, "--no-create-pool-if-not-found", "--name", settings.name),
        *("--limit", str(settings.limit)),
        *(option for queue in settings.queues for option in ("--work-queue", queue)),
    ]


def worker_environment(
    settings: Settings, paths: Paths, inherited: Mapping[str, str], health_port: int
) -> dict[str, str]:
    """Return the environment of the worker, which its flows get too, but for `login_variables`.

    Args:
        settings: How the worker is attached.
        paths: Its files.
        inherited: The environment of the process that starts it.
        health_port: Where its health endpoint listens, on the loopback interface.
    """
    names = _INHERITED | (_INHERITED_ON_WINDOWS if paths.is_windows else frozenset[str]())
    result = {
        name: value for name, value in inherited.items() if name.upper() in names or name.startswith("LC_")
    }
    path = next((result.pop(name) for name in list(result) if name.upper() == "PATH"), os.defpath)
    separator = ";" if paths.is_windows else ":"
    result["PATH"] = separator.join([str(programs_of(environment_of(settings, paths))), path])
    if not paths.is_windows:
        result.setdefault("LANG", "C.UTF-8")
    result |= _proxy_exceptions(result)
    result |= settings.variables
    result |= {
        "PREFECT_API_URL": settings.server,
        "PREFECT_HOME": str(paths.prefect),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": f"{settings.query_seconds:g}",
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # by which the platform tells which runs are alive
        "DO_NOT_TRACK": "1",
        "WORKER_POOL": settings.pool,
        "WORKER_QUEUES": ",".join(settings.queues),
        "WORKER_NAME": settings.name,
        "WORKER_LIMIT": str(settings.limit),
        "WORKER_GRACE_SECONDS": str(settings.grace_seconds),
        "FLOWS_GIT_URL": settings.flows_git_url,
        "FLOWS_GIT_REF": settings.flows_git_ref,
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    result |= dict.fromkeys(("TEMP", "TMP") if paths.is_windows else ("TMPDIR",), str(paths.temporary))
    if paths.is_windows:
        result |= _long_paths(result)
    return result


def login_variables(settings: Settings, auth_string: str, api_key: str) -> dict[str, str]:
    """Return the variables with which the worker logs in to the server.

    Prefect's client tells a key to Prefect Cloud, which it knows by the address, in Cloud's own way. To any
    other server it tells the key over HTTP alone; a header that it is told to send goes with websockets too.

    Args:
        settings: How the worker is attached.
        auth_string: The login of the server's API; empty for none.
        api_key: Its key; empty for none.
    """
    if auth_string:
        return {AUTH_STRING: auth_string}
    if not api_key:
        return {}
    workspace = re.fullmatch(r"(https?://.+)/accounts/[^/]+/workspaces/[^/]+/?", settings.server)
    if workspace:
        return {API_KEY: api_key, "PREFECT_CLOUD_API_URL": workspace[1]}
    return {
        API_KEY: api_key,
        "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Authorization": f"Bearer {api_key}"}),
    }


def _proxy_exceptions(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a proxy is not asked for what is on this machine."""
    own = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    value = ",".join([*filter(None, [own]), *_LOOPBACK])
    return {"NO_PROXY": value, "no_proxy": value}


def _long_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which git on Windows writes files whose path has more than 260 characters."""
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": "core.longpaths",
        f"GIT_CONFIG_VALUE_{count}": "true",
    }
