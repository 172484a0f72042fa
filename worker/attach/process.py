"""Builds the command line and the environment of the worker's process."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import PurePath

from attach.paths import Paths, programs_of, python_of
from attach.settings import API_KEY, AUTH_STRING, CERTIFICATES, Settings

# What locates programs and the user's git settings, language, time zone, certificates, proxies; and nothing
# private: a worker passes its whole environment to every flow.
_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ"),
        *CERTIFICATES,
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SSH_AUTH_SOCK", "GIT_SSH_COMMAND"),
    }
)
# Without these, Windows programs do not start, or do not find their user's folders.
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
    """Return the worker's Python environment: the one that the user named, else the one made for it."""
    return type(paths.home)(settings.environment) if settings.environment else paths.environment


def worker_command(settings: Settings, paths: Paths) -> list[str]:
    """Return the command line of the worker.

    It is the platform's own worker, except on Windows, which can neither replace nor fork a process: there it
    is Prefect's.
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
    """Return the worker's environment without `login_variables`; its flows inherit it.

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
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # tells the platform which runs are alive
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

    Prefect's client sends a key to Prefect Cloud, which it knows by the address, in Cloud's own way. To any
    other server it sends the key over HTTP only; a custom header goes with websockets too.

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
    """Return the variables that keep requests to this machine off a proxy."""
    own = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    value = ",".join([*filter(None, [own]), *_LOOPBACK])
    return {"NO_PROXY": value, "no_proxy": value}


def _long_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that let git on Windows write paths of more than 260 characters."""
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": "core.longpaths",
        f"GIT_CONFIG_VALUE_{count}": "true",
    }
