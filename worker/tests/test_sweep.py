"""Working folders that killed workers left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yeedu_worker.sweep import sweep_left_folders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where processes work")


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
    assert sweep_left_folders(tmp_path) == 1
    assert [left.exists(), young.exists(), other.exists()] == [False, True, True]


def test_folder_in_which_a_process_works_stays(tmp_path: Path) -> None:
    used = folder_of_a_run(tmp_path, "tmpabcprefect")
    with subprocess.Popen(["sleep", "60"], cwd=used / "flows") as process:
        assert sweep_left_folders(tmp_path) == 0
        process.kill()
    assert sweep_left_folders(tmp_path) == 1
    assert not used.exists()
