"""The descriptions of services, on both systems, as the systems read them."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree as ET

import pytest

from attach import systemd, windows_task
from attach.paths import Paths
from attach.service import serve_command
from attach.settings import Settings

LINUX = Paths(PurePosixPath("/home/me/100% mine $HOME/box"))
WINDOWS = Paths(PureWindowsPath(r"C:\Users\A & B\yeedu\box"))
SETTINGS = Settings("http://prefect:8080/api", "a pool", "box", variables={"KEY": "hidden"}, scope="user")
TASK = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
USER = "OFFICE\\A & B"


def text_at(task: str, path: str) -> str | None:
    """Return the text of one element of a task's description."""
    root = ET.fromstring(task)
    return root.findtext("/".join(f"t:{part}" for part in path.split("/")), namespaces=TASK)


def task_of(scope: str) -> str:
    settings = replace(SETTINGS, scope=scope)
    return windows_task.task(settings, WINDOWS, serve_command(settings, WINDOWS), USER)


def test_unit_runs_the_copied_program_with_the_workers_python() -> None:
    text = systemd.unit(SETTINGS, LINUX, serve_command(SETTINGS, LINUX))
    home = "/home/me/100%% mine $$HOME/box"
    assert f'ExecStart="{home}/env/bin/python" "-X" "utf8" "{home}/program/attach" "serve"' in text
    assert "WorkingDirectory=/home/me/100%% mine $HOME/box\n" in text
    assert "Restart=always\n" in text
    assert "WantedBy=default.target\n" in text
    assert "User=" not in text
    assert "hidden" not in text


def test_unit_of_the_machine_runs_as_the_given_user_after_the_network() -> None:
    text = systemd.unit(replace(SETTINGS, scope="system"), LINUX, ["/x"], "runner")
    assert "User=runner\n" in text
    assert "After=network-online.target\n" in text
    assert "WantedBy=multi-user.target\n" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
@pytest.mark.parametrize("scope", ["user", "system"])
def test_systemd_understands_the_unit(scope: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, scope=scope, environment=str(tmp_path / "env"))
    paths = Paths(tmp_path / "100% mine $HOME" / "box")
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    file = tmp_path / systemd.unit_name("box")
    command = serve_command(settings, paths)
    file.write_text(systemd.unit(settings, paths, command, "root"))
    flags = ["--user"] if scope == "user" else []
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *flags, str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert file.name not in done.stderr, done.stderr


def test_unit_is_brought_in_and_out_by_the_right_manager() -> None:
    home = PurePosixPath("/home/me")
    assert str(systemd.unit_file("box", "system", home)) == "/etc/systemd/system/yeedu-worker-box.service"
    user = "/home/me/.config/systemd/user/yeedu-worker-box.service"
    assert str(systemd.unit_file("box", "user", home)) == user
    assert str(systemd.unit_file("box", "user", home, PurePosixPath("/c"))).startswith("/c/systemd/user/")
    for scope, control in (("system", ["systemctl"]), ("user", ["systemctl", "--user"])):
        commands = [
            *systemd.start_commands("box", scope),
            *systemd.stop_commands("box", scope),
            *systemd.forget_commands(scope),
            systemd.state_command("box", scope),
        ]
        assert all(command[: len(control)] == control for command in commands)
        assert all(("--user" in command) == (scope == "user") for command in commands)
    assert systemd.stop_commands("box", "user") == [
        ["systemctl", "--user", "disable", "--now", "yeedu-worker-box.service"]
    ]


def test_task_of_the_machine_starts_with_it_and_needs_no_password() -> None:
    task = task_of("system")
    assert text_at(task, "Triggers/BootTrigger/Enabled") == "true"
    assert text_at(task, "Triggers/LogonTrigger/Enabled") is None
    assert text_at(task, "Principals/Principal/LogonType") == "S4U"
    assert text_at(task, "Principals/Principal/UserId") == USER


def test_task_of_a_user_starts_at_log_on() -> None:
    task = task_of("user")
    assert text_at(task, "Triggers/LogonTrigger/UserId") == USER
    assert text_at(task, "Triggers/BootTrigger/Enabled") is None
    assert text_at(task, "Principals/Principal/LogonType") == "InteractiveToken"


@pytest.mark.parametrize("scope", ["user", "system"])
def test_task_runs_for_ever_and_comes_back(scope: str) -> None:
    task = task_of(scope)
    assert text_at(task, "Settings/ExecutionTimeLimit") == "PT0S"
    assert text_at(task, "Settings/RestartOnFailure/Interval") == "PT1M"
    assert text_at(task, "Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert text_at(task, "Settings/DisallowStartIfOnBatteries") == "false"
    assert text_at(task, "Settings/StopIfGoingOnBatteries") == "false"


def test_task_starts_a_console_python_in_utf8() -> None:
    task = task_of("system")
    assert text_at(task, "Actions/Exec/Command") == r"C:\Users\A & B\yeedu\box\env\Scripts\python.exe"
    assert text_at(task, "Actions/Exec/Arguments") == (
        r'-X utf8 "C:\Users\A & B\yeedu\box\program\attach" serve --folder "C:\Users\A & B\yeedu\box"'
    )
    assert text_at(task, "Actions/Exec/WorkingDirectory") == r"C:\Users\A & B\yeedu\box"
    assert "hidden" not in task
    assert task.startswith('<?xml version="1.0" encoding="UTF-16"?>')


def test_task_is_brought_in_and_out() -> None:
    create, start = windows_task.start_commands("box", WINDOWS.task)
    name = "\\Yeedu\\yeedu-worker-box"
    assert create == ["schtasks", "/Create", "/F", "/TN", name, "/XML", str(WINDOWS.task)]
    assert start == ["schtasks", "/Run", "/TN", name]
    assert windows_task.forget_commands("box") == [["schtasks", "/Delete", "/F", "/TN", name]]
    assert windows_task.stop_commands("box") == [["schtasks", "/Change", "/TN", name, "/DISABLE"]]


def test_state_of_the_task_is_read() -> None:
    assert windows_task.state_command("box")[-3:] == ["/FO", "CSV", "/NH"]
    line = '"\\\\Yeedu\\\\yeedu-worker-box","N/A","Running"\n'
    assert windows_task.state_of(line) == "Running"


def test_folder_is_its_users_alone() -> None:
    assert windows_task.privacy_command(WINDOWS.home, USER) == [
        *("icacls", str(WINDOWS.home), "/inheritance:r", "/grant:r", f"{USER}:(OI)(CI)F", "/Q")
    ]
