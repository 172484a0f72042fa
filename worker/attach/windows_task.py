"""The scheduled task that runs an attached worker on Windows, and the commands that manage it, as data.

A task rather than a service: it is part of Windows, needs no downloaded wrapper, and gives its program a
console, without which a worker stops at its first child process.
"""

from pathlib import PurePath
from subprocess import list2cmdline
from xml.etree import ElementTree as ET

from attach.paths import Paths
from attach.settings import Settings

_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def task_name(name: str) -> str:
    """Return the task's name, with its folder."""
    return rf"\Yeedu\yeedu-worker-{name}"


def task(settings: Settings, paths: Paths, command: list[str], user: str) -> str:
    r"""Return the task's description.

    It starts with the machine (scope ``system``) or when the user logs on (scope ``user``), runs without a
    time limit and on battery power, and restarts a minute after a failure. The user's password is not stored:
    for a start with the machine, Windows makes its own token for the user (S4U).

    Args:
        settings: How the worker is attached.
        paths: Its files.
        command: What runs the worker in the foreground.
        user: Who it runs as, ``DOMAIN\user``.
    """
    at_start = settings.scope == "system"
    root = ET.Element("Task", version="1.2", xmlns=_NAMESPACE)
    description = f"Yeedu worker {settings.name} of {settings.polled} on {settings.server}"
    _add(root, "RegistrationInfo", {"Description": description})
    trigger = {"Enabled": "true"} if at_start else {"Enabled": "true", "UserId": user}
    _add(_add(root, "Triggers", {}), "BootTrigger" if at_start else "LogonTrigger", trigger)
    principal = {
        "UserId": user,
        "LogonType": "S4U" if at_start else "InteractiveToken",
        "RunLevel": "LeastPrivilege",
    }
    _add(_add(root, "Principals", {}), "Principal", principal).set("id", "worker")
    settings_element = _add(
        root,
        "Settings",
        {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "StartWhenAvailable": "true",
            "ExecutionTimeLimit": "PT0S",
            "Priority": "5",  # a task's default is that of background work
            "Enabled": "true",
        },
    )
    _add(settings_element, "RestartOnFailure", {"Interval": "PT1M", "Count": "999"})
    actions = _add(root, "Actions", {})
    actions.set("Context", "worker")
    action = {
        "Command": command[0],
        "Arguments": list2cmdline(command[1:]),
        "WorkingDirectory": str(paths.home),
    }
    _add(actions, "Exec", action)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-16"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def start_commands(name: str, description: PurePath) -> list[list[str]]:
    """Return the commands that create the task and run it at once."""
    return [
        ["schtasks", "/Create", "/F", "/TN", task_name(name), "/XML", str(description)],
        ["schtasks", "/Run", "/TN", task_name(name)],
    ]


def stop_commands(name: str) -> list[list[str]]:
    """Return the commands that disable the task."""
    return [["schtasks", "/Change", "/TN", task_name(name), "/DISABLE"]]


def forget_commands(name: str) -> list[list[str]]:
    """Return the commands that delete the task."""
    return [["schtasks", "/Delete", "/F", "/TN", task_name(name)]]


def state_command(name: str) -> list[str]:
    """Return the command that prints the task's state and succeeds if the task exists."""
    return ["schtasks", "/Query", "/TN", task_name(name), "/FO", "CSV", "/NH"]


def state_of(output: str) -> str:
    """Return the state that `state_command` printed: the last field of its line."""
    return output.strip().rpartition(",")[2].strip('"')


def privacy_command(folder: PurePath, user: str) -> list[str]:
    """Return the command that makes a folder, and what will be in it, private to its user."""
    return ["icacls", str(folder), "/inheritance:r", "/grant:r", f"{user}:(OI)(CI)F", "/Q"]


def tree_end_command(number: int) -> list[str]:
    """Return the command that kills a process tree."""
    return ["taskkill", "/T", "/F", "/PID", str(number)]


def _add(parent: ET.Element, tag: str, texts: dict[str, str]) -> ET.Element:
    element = ET.SubElement(parent, tag)
    for name, text in texts.items():
        ET.SubElement(element, name).text = text
    return element
