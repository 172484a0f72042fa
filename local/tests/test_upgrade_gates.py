"""Each gate of an upgrade: a line when it is passed, or one sentence that says what to do."""

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.api import PrefectApi
from local.console import Console
from local.errors import CommandError
from local.settings.platform import Settings
from local.tests.test_upgrade_releases import checkout, commit, origin
from local.upgrade import preflight
from local.upgrade.forms import Need
from local.upgrade.git import Git
from local.upgrade.releases import Release, clone, find

__all__ = ["checkout", "origin"]  # fixtures
OWN = {"name": "linux-worker", "status": "ONLINE"}
BOX, GONE = {"name": "box", "status": "ONLINE"}, {"name": "gone", "status": "OFFLINE"}


class FakeForm:
    """A platform of which a test says how it is."""

    def __init__(
        self, unwell: list[str] | None = None, needs: list[Need] | None = None, busy: bool = False
    ) -> None:
        self._unwell, self._needs, self._busy = unwell or [], needs or [], busy

    def unwell(self) -> list[str]:
        return self._unwell

    def needs(self) -> list[Need]:
        return self._needs

    def is_deploying(self) -> bool:
        return self._busy


@pytest.fixture
def answers() -> dict[str, Any]:
    """What the server answers, by path."""
    return {
        "/variables/filter": [],
        "/work_pools/filter": [{"name": "yeedu-pool"}],
        "/work_pools/yeedu-pool/workers/filter": [OWN, BOX, GONE],
    }


@pytest.fixture
def api(answers: dict[str, Any]) -> Iterator[PrefectApi]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = answers[self.path]
            content = json.dumps(answer(asked) if callable(answer) else answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name there
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield PrefectApi(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def attached(version: str) -> list[dict[str, Any]]:
    return [{"value": {"pool": "yeedu-pool", "worker": "box", "platform": version}}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"PREFECT_API_URL": "https://prefect.example.com/api"},
            "are on https://prefect.example.com/api, which",
        ),
        (
            {"PREFECT_SERVER_DATABASE_HOST": "db.example.com"},
            "your Postgres at db.example.com; back it up there",
        ),
        ({"PLATFORM_VERSION": "7"}, "PLATFORM_VERSION=7 is set"),
    ],
)
def test_a_platform_whose_data_cannot_be_brought_back_is_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        preflight.check_is_upgradable(Settings(values))


def test_a_downgrade_is_refused_with_what_to_do_instead() -> None:
    preflight.check_version("0.9.0", "0.10.0")
    with pytest.raises(CommandError, match=r"0\.9\.0 is older than 0\.10\.0.*restore a backup.*make restore"):
        preflight.check_version("0.10.0", "0.9.0")


def test_an_unhealthy_platform_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    preflight.check_health(FakeForm(), Console())  # type: ignore[arg-type]
    assert "gate         health: every service is healthy" in capsys.readouterr().out
    with pytest.raises(CommandError, match=r"not everything is healthy: rescue \(unhealthy\); `make status`"):
        preflight.check_health(FakeForm(["rescue (unhealthy)"]), Console())  # type: ignore[arg-type]


def test_a_deployer_here_or_elsewhere_is_waited_for(api: PrefectApi, answers: dict[str, Any]) -> None:
    preflight.check_deployer(FakeForm(), api, Console())  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="a deployer is running"):
        preflight.check_deployer(FakeForm(busy=True), api, Console())  # type: ignore[arg-type]

    def held(asked: str) -> list[dict[str, str]]:
        return [{"name": "yeedu_deployer_lock"}] if "yeedu_deployer_lock%" in asked else []

    answers["/variables/filter"] = held
    with pytest.raises(CommandError, match="a deployer is running"):
        preflight.check_deployer(FakeForm(), api, Console())  # type: ignore[arg-type]


def test_a_full_disk_is_told_by_folder_and_size(tmp_path: Path) -> None:
    small, large = (Need(tmp_path / "no such" / "folder", size, "the backup") for size in (1, 10**18))
    preflight.check_disk_space(FakeForm(needs=[small]), Console())  # type: ignore[arg-type]
    with pytest.raises(
        CommandError, match=rf"the disk of {tmp_path} has [\d,]+ MB free.*\(the backup\); free some"
    ):
        preflight.check_disk_space(FakeForm(needs=[small, large]), Console())  # type: ignore[arg-type]


def test_local_changes_that_the_release_would_overwrite_are_named(checkout: Path, tmp_path: Path) -> None:
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    (checkout / "flows/a.py").write_text("of no matter: the release leaves it alone\n")
    preflight.check_files(Git(checkout), release, Console())
    (checkout / "old.txt").write_text("changed here\n")
    (checkout / "new").mkdir()
    (checkout / "new/b.py").write_text("never committed\n")
    with pytest.raises(
        CommandError, match=r"^new/b\.py, old\.txt: changed here, and by 0\.10\.0 too; commit"
    ):
        preflight.check_files(Git(checkout), release, Console())


@pytest.mark.parametrize(
    ("name", "place"), [("new/b.py", "new/b.py"), ("new", "new"), ("new/b.py/mine.txt", "new/b.py")]
)
def test_ignored_files_that_the_release_would_overwrite_are_named(
    checkout: Path, tmp_path: Path, name: str, place: str
) -> None:
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    (checkout / ".git" / "info" / "exclude").write_text("new\n")
    preflight.check_files(Git(checkout), release, Console())
    file = checkout / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine, and ignored\n")
    with pytest.raises(CommandError, match=r"^new/b\.py: 0\.10\.0 brings files of that name.*move it away"):
        preflight.check_files(Git(checkout), release, Console())
    assert (checkout / place).exists()


def test_a_commit_since_the_upgrade_began_is_noticed(checkout: Path) -> None:
    head = Git(checkout).commit_of("HEAD")
    preflight.check_is_at(Git(checkout), head)
    commit(checkout, {"flows/mine.py": "mine\n"})
    with pytest.raises(CommandError, match=rf"went from commit {head[:12]} to [0-9a-f]{{12}} since"):
        preflight.check_is_at(Git(checkout), head)


def test_a_release_that_may_not_be_skipped_is_the_next_one(
    checkout: Path, origin: Path, tmp_path: Path
) -> None:
    stops = '[[stop]]\nversion = "0.10.0"\nreason = "it moves results"\n'
    commit(origin, {"local/upgrade/stops.toml": stops})
    release = clone(Git(checkout), find(Git(checkout), "", origin), tmp_path / "release")
    with pytest.raises(
        CommandError, match=r"not be skipped: it moves results; first make upgrade VERSION=0\.10\.0"
    ):
        preflight.check_stops(release, "0.9.0", Console())
    preflight.check_stops(release, "0.10.0", Console())
    preflight.check_stops(Release("0.10.0", release.folder, release.commit), "0.9.0", Console())


@pytest.mark.parametrize("version", ["", "0.10.1", "0.10.0"])
def test_an_attached_worker_may_lag_by_a_patch_release(
    api: PrefectApi, answers: dict[str, Any], version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers["/variables/filter"] = attached(version) if version else []
    assert preflight.check_workers(api, Settings({}), "0.10.1", Console()) == ["box"]
    assert "gate         workers: box may work for 0.10.1" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["0.9.0", "0.10.0", "0.11.0"])
def test_one_that_lags_by_more_is_told_with_its_command(
    api: PrefectApi, answers: dict[str, Any], version: str
) -> None:
    answers["/variables/filter"] = attached(version)
    with pytest.raises(
        CommandError, match=rf"worker box of yeedu-pool is of {version}.*git checkout v0\.10\.2 && w"
    ):
        preflight.check_workers(api, Settings({}), "0.10.2", Console())


def test_the_name_of_a_pool_is_one_part_of_an_address(api: PrefectApi, answers: dict[str, Any]) -> None:
    answers["/work_pools/filter"] = [{"name": "a pool/ä?"}]
    answers["/work_pools/a%20pool%2F%C3%A4%3F/workers/filter"] = [BOX]
    assert preflight.check_workers(api, Settings({}), "0.10.1", Console()) == ["box"]


def test_git_runs_no_hooks_of_the_checkout(checkout: Path, tmp_path: Path) -> None:
    hook = checkout / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=checkout, text=True).strip()
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    Git(checkout).put(release.commit, head)
    assert not (tmp_path / "ran").exists()
