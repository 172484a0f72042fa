"""Working folders that killed workers left behind."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from yeedu_worker.cleanup import temporary_files
from yeedu_worker.cleanup.temporary_files import delete_orphaned_files, delete_orphaned_folders
from yeedu_worker.run_environment import FOLDER_PREFIX

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where processes work")


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def folder_of_a_run(place: Path, name: str, age_seconds: float = 3600) -> Path:
    clone = place / name / "flows"
    clone.mkdir(parents=True)
    (clone / "flow.py").touch()
    then = time.time() - age_seconds
    os.utime(place / name, (then, then))
    return place / name


def test_left_folders_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    left = folder_of_a_run(tmp_path, "tmpabcprefect")
    young = folder_of_a_run(tmp_path, "tmpdefprefect", age_seconds=1)
    other = folder_of_a_run(tmp_path, "tmpghi")
    assert delete_orphaned_folders(tmp_path) == 1
    assert [left.exists(), young.exists(), other.exists()] == [False, True, True]


def test_folder_in_which_a_process_works_stays(tmp_path: Path) -> None:
    used = folder_of_a_run(tmp_path, "tmpabcprefect")
    with subprocess.Popen(["sleep", "60"], cwd=used / "flows") as process:
        assert delete_orphaned_folders(tmp_path) == 0
        process.kill()
    assert delete_orphaned_folders(tmp_path) == 1
    assert not used.exists()


def test_temporary_folder_goes_when_its_worker_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / f"{FOLDER_PREFIX}abc"
    folder.mkdir()
    with subprocess.Popen(["flock", folder, "-c", "echo locked; read line"], **PIPES) as worker:
        assert worker.stdout
        assert worker.stdin
        worker.stdout.readline()
        assert delete_orphaned_folders(tmp_path) == 0
        worker.stdin.close()
        worker.wait()
    assert delete_orphaned_folders(tmp_path) == 1
    assert not folder.exists()


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two minutes pass: when a file was changed cannot be set back."""
    monkeypatch.setattr(temporary_files, "time", SimpleNamespace(time=lambda: time.time() + 120))


def test_what_runs_left_in_the_workers_own_folder_goes_while_none_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "prefect"
    for folder in (home, tmp_path / "closed", tmp_path / "yeedu-prefork-a", tmp_path / "tmpaprefect"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (tmp_path / "closed").chmod(0)
    (tmp_path / "fill").write_bytes(bytes(1000))
    (tmp_path / "link").symlink_to(home)
    assert delete_orphaned_files(tmp_path, home, is_idle=True) == 0, "it may be needed yet"
    aged(tmp_path, monkeypatch)
    with (tmp_path / "open").open("w"):
        assert delete_orphaned_files(tmp_path, home, is_idle=False) == 0, "a run may need it"
        assert delete_orphaned_files(tmp_path, home, is_idle=True) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("home", "open", "tmpaprefect", "yeedu-prefork-a"),
    ]
    assert (home / "file").exists()


@pytest.mark.parametrize(("free", "left"), [(40, []), (60, ["fill"])])
def test_what_runs_left_goes_beside_others_only_while_room_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, left: list[str]
) -> None:
    """Short is a twentieth of the folder's room."""
    (tmp_path / "fill").touch()
    aged(tmp_path, monkeypatch)
    megabyte = 1024 * 1024
    usage = SimpleNamespace(total=1000 * megabyte, free=free * megabyte)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage if place == tmp_path else None)
    delete_orphaned_files(tmp_path, tmp_path / "home", is_idle=False)
    assert [path.name for path in tmp_path.iterdir()] == left
