"""Where an attached worker's files are, on both systems."""

from pathlib import PurePosixPath, PureWindowsPath

import pytest

from attach.paths import Paths, default_parent, is_usable_name, name_of_host, programs_of, python_of

LINUX = Paths(PurePosixPath("/home/me/.local/share/yeedu-worker/box"))
WINDOWS = Paths(PureWindowsPath(r"C:\Users\me\AppData\Local\yeedu\box"))
FILES = (
    "environment",
    "program",
    "settings",
    "auth_string",
    "api_key",
    "prefect",
    "temporary",
    "log",
    "lock",
    "task",
)


@pytest.mark.parametrize("paths", [LINUX, WINDOWS], ids=["linux", "windows"])
def test_everything_is_in_the_workers_folder(paths: Paths) -> None:
    files = [getattr(paths, name) for name in (*FILES, "stop_request")]
    assert all(file.is_relative_to(paths.home) for file in files)
    assert len(set(files)) == len(files)


def test_places_are_of_the_systems_own_paths() -> None:
    assert not LINUX.is_windows
    assert WINDOWS.is_windows
    assert str(python_of(LINUX.environment)) == "/home/me/.local/share/yeedu-worker/box/env/bin/python"
    assert (
        str(python_of(WINDOWS.environment)) == r"C:\Users\me\AppData\Local\yeedu\box\env\Scripts\python.exe"
    )
    assert programs_of(WINDOWS.environment).name == "Scripts"


def test_clone_paths_on_windows_leave_room_for_long_file_names() -> None:
    name = "a-name-of-15-ch"  # the longest that Windows gives a machine
    parent = default_parent(
        {"LOCALAPPDATA": r"C:\Users\twenty-character-use\AppData\Local"}, windows=True, system=False
    )
    clone = Paths(parent / name).temporary / "tmpabcdefghprefect" / "repository-name-main"
    assert len(str(clone)) < 130, clone


@pytest.mark.parametrize(
    ("variables", "windows", "system", "expected"),
    [
        ({"HOME": "/home/me"}, False, False, "/home/me/.local/share/yeedu-worker"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, False, False, "/data/yeedu-worker"),
        (
            {"HOME": "/home/me", "XDG_DATA_HOME": "relative"},
            False,
            False,
            "/home/me/.local/share/yeedu-worker",
        ),
        ({"HOME": "/root"}, False, True, "/var/lib/yeedu-worker"),
        ({"LOCALAPPDATA": r"D:\Local"}, True, False, r"D:\Local\yeedu"),
        ({"LOCALAPPDATA": r"D:\Local"}, True, True, r"D:\Local\yeedu"),
        ({"USERPROFILE": r"C:\Users\me"}, True, False, r"C:\Users\me\AppData\Local\yeedu"),
    ],
)
def test_default_folder(variables: dict[str, str], windows: bool, system: bool, expected: str) -> None:
    assert str(default_parent(variables, windows=windows, system=system)) == expected


@pytest.mark.parametrize("name", ["box", "box-1.example", "A_b", "x" * 100])
def test_usable_name(name: str) -> None:
    assert is_usable_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-x", "a/b", r"a\b", "a b", "a:b", "é", "NUL", "com1.txt", "box.", "x" * 101, "a\n"],
)
def test_name_that_cannot_be_a_folder_or_a_service_is_refused(name: str) -> None:
    assert not is_usable_name(name)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("BOX", "box"),
        ("box.example.com", "box"),
        ("Büro PC", "b-ro-pc"),
        ("---", "worker"),
        ("", "worker"),
        ("con", "worker-con"),
        ("7f3a", "7f3a"),
    ],
)
def test_name_of_a_host(host: str, name: str) -> None:
    assert name_of_host(host) == name
    assert is_usable_name(name)
