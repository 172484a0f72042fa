"""Further packages of the worker: which locks are installed, and how `make lock` makes one of the list."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.errors import CommandError
from local.install import virtual_environment
from local.install.packages import further_locks
from local.processes import services
from local.script import load_script
from local.settings.platform import ROOT, Settings

ETL = Settings({"WORKER_EXTRAS": "etl"})


def test_extra_is_installed_and_makes_another_environment() -> None:
    locks = further_locks(ETL)
    assert locks[0] == "extras/etl.txt"
    assert virtual_environment.lock_digest(locks) != virtual_environment.lock_digest(
        further_locks(Settings({}))
    )


def test_unknown_extra_is_one_sentence() -> None:
    sentence = "there is no extra 'elt'; requirements/extras/ has: dask, etl, kubernetes, s3"
    with pytest.raises(CommandError, match=sentence):
        further_locks(Settings({"WORKER_EXTRAS": "elt"}))


def test_worker_starts_again_with_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert services.worker(ETL, "", 1).fingerprint() != services.worker(Settings({}), "", 1).fingerprint()
    assert "requirements/flows.txt" in services.worker(Settings({}), "", 1).sources


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The part of a checkout that `make lock` works on."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    for name in ("flows/requirements.txt", "worker/attach/requirement_locks.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def lock(checkout: Path, line: str, folder: str = "flows") -> subprocess.CompletedProcess[str]:
    with (checkout / folder / "requirements.txt").open("a", encoding="utf-8") as packages:
        packages.write(f"{line}\n")
    return subprocess.run(
        [checkout / "requirements" / "lock"],
        env={
            **virtual_environment.inherited(),
            "UV": str(Path(sys.executable).with_name("uv")),
            "PYTHON": sys.executable,
            "CONFIG_DIR": str(checkout / "our team"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def locks_of(checkout: Path) -> dict[str, bytes]:
    folder = checkout / "requirements"
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.txt")}


def test_listed_package_is_locked_and_moves_nothing_else(checkout: Path) -> None:
    before = locks_of(checkout)
    done = lock(checkout, "cowsay")
    assert done.returncode == 0, done.stderr
    after = locks_of(checkout)
    assert [name for name in after if after[name] != before.get(name)] == ["flows.txt"]
    assert b"\ncowsay==" in after["flows.txt"]
    program = [
        sys.executable,
        str(checkout / "worker" / "attach" / "requirement_locks.py"),
        str(checkout),
        "",
    ]
    named = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert named.strip() == f"-r {checkout / 'requirements' / 'flows.txt'}"


def test_package_that_the_platforms_versions_do_not_allow_is_refused(checkout: Path) -> None:
    before = locks_of(checkout)
    done = lock(checkout, "httpx<0.28")
    assert done.returncode == 1
    assert "Because you require httpx<0.28 and httpx==0.28.1" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "flows/requirements.txt was not locked, for the reason above; "
    )
    assert locks_of(checkout) == before


def test_a_teams_own_list_is_locked_beside_it_and_nothing_of_the_platform_changes(checkout: Path) -> None:
    before, team = locks_of(checkout), checkout / "our team"
    team.mkdir()
    done = lock(checkout, "cowsay", "our team")
    assert done.returncode == 0, done.stderr
    assert locks_of(checkout) == before
    assert "\ncowsay==" in (team / "requirements.lock").read_text()
    program = [
        sys.executable,
        str(checkout / "worker" / "attach" / "requirement_locks.py"),
        str(checkout),
        "",
        str(team),
    ]
    named = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert named.strip() == f"-r {team / 'requirements.lock'}"

    (team / "requirements.txt").write_text("cowsay<6\n")
    stale = subprocess.run(program, capture_output=True, text=True, check=False)
    assert stale.stderr == "our team/requirements.txt has changed since `make lock`; run it\n"


def test_a_teams_lock_is_installed_by_local_processes(tmp_path: Path) -> None:
    script = load_script(ROOT / "worker" / "attach" / "requirement_locks.py")
    (tmp_path / "requirements.txt").write_text("cowsay\n")
    digest = script.digest(ROOT, tmp_path)
    (tmp_path / "requirements.lock").write_text(f"# (digest {digest})\ncowsay==6.1\n")
    settings = Settings({"CONFIG_DIR": str(tmp_path)})
    [lock] = further_locks(settings)
    assert (ROOT / "requirements" / lock).resolve() == (tmp_path / "requirements.lock").resolve()
    assert virtual_environment.lock_digest([lock]) != virtual_environment.lock_digest([])
    before = services.worker(settings, "", 1).fingerprint()
    (tmp_path / "requirements.lock").write_text(f"# (digest {digest})\ncowsay==6.0\n")
    assert services.worker(settings, "", 1).fingerprint() != before
