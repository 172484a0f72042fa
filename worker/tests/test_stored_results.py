"""Results that flows persist: the old ones go, and a task whose cached one went runs again."""

import os
import time
from pathlib import Path

import anyio
import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, get_current_settings, temporary_settings

from yeedu_worker.cleanup.stored_results import delete_old_results, delete_old_results_hourly
from yeedu_worker.entrypoint import WorkerConfigurationError, worker_command


def stored(folder: Path, name: str, age_seconds: float) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 1000)
    then = time.time() - age_seconds
    os.utime(file, (then, then))
    return file


def test_old_results_go_and_nothing_else(tmp_path: Path) -> None:
    old, deep = stored(tmp_path, "old", 100), stored(tmp_path, "team/2026/deep", 100)
    young, elsewhere = stored(tmp_path, "young", 1), stored(tmp_path.with_name("elsewhere"), "old", 100)
    link, folder = tmp_path / "link", tmp_path / "link-to-a-folder"
    link.symlink_to(elsewhere)
    folder.symlink_to(elsewhere.parent)
    assert delete_old_results(tmp_path, 50) == 2
    assert [one.exists() for one in (old, deep, young, elsewhere)] == [False, False, True, True]
    assert link.is_symlink()
    assert folder.is_symlink()


def test_no_folder_no_results(tmp_path: Path) -> None:
    assert delete_old_results(tmp_path / "none", 50) == 0


def test_zero_seconds_keep_all(tmp_path: Path) -> None:
    old = stored(tmp_path, "old", 1e9)
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        anyio.run(delete_old_results_hourly, 0)
    assert old.exists()


@pytest.mark.parametrize(
    ("value", "options"), [("", []), ("0", []), ("60", ["--keep-results-seconds", "60"])]
)
def test_worker_keeps_them_for_as_long_as_it_is_told(value: str, options: list[str]) -> None:
    environment = {"PREFECT_API_URL": "http://server:4200/api"}
    told = worker_command({**environment, "RESULT_RETENTION_SECONDS": value})
    assert told == [*worker_command(environment), *options]


def test_a_time_that_is_none_is_refused() -> None:
    environment = {"PREFECT_API_URL": "http://server:4200/api", "RESULT_RETENTION_SECONDS": "90d"}
    with pytest.raises(
        WorkerConfigurationError, match="RESULT_RETENTION_SECONDS='90d' is not a whole number"
    ):
        worker_command(environment)


def test_worker_sweeps_what_prefect_stores_and_prefect_sees_that_it_is_gone(tmp_path: Path) -> None:
    async def sweep_once(file: Path) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(delete_old_results_hourly, 50)
            with anyio.fail_after(60):
                while file.exists():
                    await anyio.sleep(0.02)
            group.cancel_scope.cancel()

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        storage = LocalFileSystem(basepath=str(get_current_settings().results.local_storage_path))
        store = ResultStore(result_storage=storage)
        for key in ("team/report", "team/new"):
            store.write(key=key, obj={"rows": 3})
        file = tmp_path / "team" / "report"
        then = time.time() - 100
        os.utime(file, (then, then))
        anyio.run(sweep_once, file)
        assert not store.exists("team/report")
        assert store.read("team/new").result == {"rows": 3}
