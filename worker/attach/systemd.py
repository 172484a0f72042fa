"""The systemd unit of an attached worker, and the commands that install and remove it, as data."""

from pathlib import PurePosixPath

from attach.paths import Paths
from attach.settings import Settings

SYSTEM_UNITS = PurePosixPath("/etc/systemd/system")


def unit_name(name: str) -> str:
    """Return the unit's name."""
    return f"yeedu-worker-{name}.service"


def unit_file(
    name: str, scope: str, home: PurePosixPath, configuration: PurePosixPath | None = None
) -> PurePosixPath:
    """Return the path of the unit's file.

    Args:
        name: The worker's name.
        scope: ``user`` or ``system``.
        home: The user's home folder.
        configuration: The user's XDG_CONFIG_HOME, if it is set.
    """
    folder = SYSTEM_UNITS if scope == "system" else (configuration or home / ".config") / "systemd" / "user"
    return folder / unit_name(name)


def unit(settings: Settings, paths: Paths, command: list[str], user: str = "") -> str:
    """Return the unit's text. It holds no secret: the worker reads those from its own folder.

    Args:
        settings: How the worker is attached.
        paths: Its files.
        command: What runs the worker in the foreground.
        user: Who a system service runs as; empty for a user's service.
    """
    is_system = settings.scope == "system"
    network = ["Wants=network-online.target", "After=network-online.target"] if is_system else []
    lines = [
        "[Unit]",
        f"Description={_text(f'Yeedu worker {settings.name} of {settings.polled}')}",
        *network,
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={' '.join(map(_argument, command))}",
        f"WorkingDirectory={_text(str(paths.home))}",
        *([f"User={user}"] if is_system else []),
        "Restart=always",
        "RestartSec=5",
        # The worker first ends its flow runs gracefully; whatever is left after that is killed.
        "KillMode=mixed",
        f"TimeoutStopSec={settings.grace_seconds + 30}",
        "UMask=0077",
        "NoNewPrivileges=true",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if is_system else 'default.target'}",
        "",
    ]
    return "\n".join(lines)


def start_commands(name: str, scope: str) -> list[list[str]]:
    """Return the commands that start the unit, now and at every start of the machine."""
    control = _control(scope)
    return [
        [*control, "daemon-reload"],
        [*control, "enable", unit_name(name)],
        [*control, "restart", unit_name(name)],
    ]


def stop_commands(name: str, scope: str) -> list[list[str]]:
    """Return the commands that stop and disable the unit; its file may then be deleted."""
    return [[*_control(scope), "disable", "--now", unit_name(name)]]


def forget_commands(scope: str) -> list[list[str]]:
    """Return the commands that make systemd forget the deleted unit."""
    return [[*_control(scope), "daemon-reload"]]


def state_command(name: str, scope: str) -> list[str]:
    """Return the command that prints the unit's state and succeeds if it runs."""
    return [*_control(scope), "is-active", unit_name(name)]


def linger_command(user: str) -> list[str]:
    """Return the command that keeps a user's services running while the user is logged out."""
    return ["loginctl", "enable-linger", user]


def _control(scope: str) -> list[str]:
    return ["systemctl"] if scope == "system" else ["systemctl", "--user"]


def _text(value: str) -> str:
    return value.replace("%", "%%")


def _argument(value: str) -> str:
    """Quote one argument: systemd expands specifiers and variables, and splits at spaces."""
    escaped = _text(value).replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
