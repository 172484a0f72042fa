"""The switch and the rollback: what is paused, started and put back, and what is done after a cut."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.api import ApiUnavailableError, PrefectApi
from local.console import Console
from local.containers import docker
from local.errors import CommandError
from local.settings.platform import Settings
from local.tests.test_upgrade_copies import file, run
from local.tests.test_upgrade_releases import checkout, commit, origin
from local.tests.test_upgrade_releases import state as state_of
from local.upgrade import bundles, command, forms, rollback, rollback_code, switch
from local.upgrade import journal as journals
from local.upgrade.copies import SqliteCopy
from local.upgrade.forms import Containers
from local.upgrade.git import Git
from local.upgrade.journal import Journal, Phase
from local.upgrade.releases import clone, find
from local.upgrade.smoke import QUEUE, forget_queue, forget_runs, make_queue

__all__ = ["checkout", "file", "origin"]  # fixtures
JOURNAL = Journal(
    form="local processes",
    old="0.1.0",
    new="0.2.0",
    old_commit="old",
    new_commit="new",
    backup="backups/before.tar",
    queues=("q1",),
    phase=Phase.SWITCHING,
)


class FakeForm:
    """A platform that is nothing but a database."""

    name = "local processes"

    def __init__(self, file: Path) -> None:
        self.copy = SqliteCopy(file)

    def keep_programs(self) -> None:
        pass

    def profiles(self) -> tuple[str, ...]:
        return ()

    def stop(self) -> None:
        pass

    def put_programs_back(self) -> dict[str, str]:
        return {}

    def start_database(self) -> None:
        pass


class FakeApi(PrefectApi):
    """A server with one pool, and a queue of a user's."""

    def __init__(self) -> None:
        self.queues = {"upgrade", "default"}
        self.runs = {
            "kept": (QUEUE, "smoke-of-8.0.0"),
            "new": (QUEUE, "smoke-of-9.0.0"),
            "r2": ("upgrade", ""),
        }
        self.paused: dict[str, bool] = {}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/deployments/filter":
            return [{"id": "d", "work_pool_name": "my pool"}]
        if path == "/work_pools/filter":
            return [{"name": "my pool", "is_paused": False}]
        if path == "/flow_runs/filter":
            [queue], [tag] = body["flow_runs"]["work_queue_name"]["any_"], body["flow_runs"]["tags"]["all_"]
            return [{"id": run} for run, has in self.runs.items() if has == (queue, tag)]
        if path == "/work_pools/my%20pool/queues/filter":
            return [{"id": name, "name": name, "is_paused": False} for name in sorted(self.queues)]
        assert path == "/work_pools/my%20pool/queues"
        if body["name"] in self.queues:
            raise ApiUnavailableError("there", 409)
        self.queues.add(body["name"])
        return {}

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        self.paused[path] = body["is_paused"]

    def delete(self, path: str) -> None:
        place, name = path.rsplit("/", 1)
        there = self.runs if place == "/flow_runs" else self.queues
        if name not in there:
            raise ApiUnavailableError("gone", 404)
        self.runs.pop(name, None)
        self.queues.discard(name)


def no_matter(*_: object) -> None:
    """Stand in for what a test does not look at."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an upgrade's own files."""
    state = tmp_path / "state"
    read, write, forget = journals.read, journals.write, journals.forget

    def write_there(journal: Journal) -> Journal:
        return write(journal, state)

    monkeypatch.setattr(journals, "read", lambda: read(state))
    monkeypatch.setattr(journals, "write", write_there)
    monkeypatch.setattr(journals, "forget", lambda: forget(state))
    return state


def test_the_smoke_runs_queue_is_nobody_elses() -> None:
    api: Any = FakeApi()
    make_queue(api)
    make_queue(api)  # as after a cut
    assert api.queues == {"upgrade", "default", QUEUE}
    forget_runs(api, "9.0.0")
    forget_queue(api)
    forget_queue(api)
    assert (api.queues, set(api.runs)) == ({"upgrade", "default"}, {"kept", "r2"})


@pytest.mark.parametrize(
    ("settings", "profiles", "tries", "wanted"),
    [
        ({}, (), True, {}),
        ({"WORKER_QUEUES": "a, b"}, (), True, {"WORKER_QUEUES": f"{QUEUE},a, b"}),
        ({"WORKER_QUEUES": "a, b"}, (), False, {}),
        ({}, ("image-worker",), False, {"COMPOSE_PROFILES": "image-worker"}),
        ({"COMPOSE_PROFILES": "backup, x"}, ("y",), False, {"COMPOSE_PROFILES": "backup,x,y"}),
    ],
)
def test_a_start_has_what_ran_before_and_polls_the_smoke_runs_queue(
    settings: dict[str, str], profiles: tuple[str, ...], tries: bool, wanted: dict[str, str]
) -> None:
    journal = dataclasses.replace(JOURNAL, profiles=profiles)
    assert switch.stage_variables(Settings(settings), journal, tries=tries) == wanted


@pytest.mark.parametrize(("asked", "found"), [("", ("image-worker",)), ("image-worker", ()), ("*", ())])
def test_a_service_that_was_started_by_its_profile_is_known(
    monkeypatch: pytest.MonkeyPatch, asked: str, found: tuple[str, ...]
) -> None:
    services = {"server": {}, "image-worker": {"profiles": ["image-worker"]}, "off": {"profiles": ["off"]}}

    class Project(forms.Project):
        def containers(self) -> list[Any]:
            running = [("server", "running"), ("image-worker", "running"), ("off", "exited")]
            return [type("One", (), {"service": name, "status": status}) for name, status in running]

        def answer(self, *arguments: str) -> str:
            assert arguments == ("--profile", "*", "config", "--format", "json")
            return json.dumps({"services": services})

    monkeypatch.setattr(forms, "Project", Project)
    assert Containers(Settings({"COMPOSE_PROFILES": asked}), Console()).profiles() == found


def test_anothers_project_of_the_trials_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(_: str, *arguments: str, **__: Any) -> Any:
        asked.append(arguments)
        return type("Done", (), {"stdout": "/srv/another\n", "returncode": 0})

    monkeypatch.setattr(docker, "ask", ask)
    form = Containers(Settings({"COMPOSE_PROJECT_NAME": "mine"}), Console())
    with pytest.raises(CommandError, match=r"mine-upgrade-trial-[0-9a-f]{6} was started from /srv/another"):
        form.trial_variables()
    form.remove_trial()
    assert {one[0] for one in asked} == {"ps"}


AS_BEFORE = "with its data as it was"
OTHERS = "INSERT INTO flow_run VALUES (2, 'COMPLETED', 'default')"
NEW_TABLES = "ALTER TABLE flow_run ADD COLUMN name TEXT"


@pytest.mark.parametrize(
    ("has_begun", "changes", "data", "runs"),
    [
        (False, [], AS_BEFORE, [(1,)]),
        (True, ["INSERT INTO flow_run VALUES (2, 'CANCELLED', '')"], AS_BEFORE, [(1,)]),
        (True, [OTHERS], "with its data as 0.2.0 left them, since 1 flow run elsewhere", [(1,), (2,)]),
        (True, [OTHERS, NEW_TABLES], f"{AS_BEFORE}; 1 flow run elsewhere ended meanwhile, which", [(1,)]),
    ],
)
def test_the_data_are_as_they_were_or_it_is_said(
    file: Path, has_begun: bool, changes: list[str], data: str, runs: list[tuple[int]]
) -> None:
    form: Any = FakeForm(file)
    form.copy.make()
    run(file, *changes)
    journal = dataclasses.replace(JOURNAL, has_begun=has_begun)
    assert rollback.restore_data(form, journal, Console()).startswith(data)
    assert run(file) == runs
    assert not form.copy.exists()


def test_half_of_a_copy_is_deleted_on_the_way_back(file: Path) -> None:
    form: Any = FakeForm(file)
    half = file.with_name("prefect_before_upgrade.new")
    half.write_bytes(b"half")
    rollback.restore_data(form, JOURNAL, Console())
    assert not half.exists()


Switching = Callable[..., tuple[FakeApi, list[dict[str, str]]]]


@pytest.fixture
def switching(
    checkout: Path, file: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Switching:
    """Return what switches a real checkout, and returns the server and what each start was given."""
    git, api, starts = Git(checkout), FakeApi(), list[dict[str, str]]()
    release = clone(git, find(git, "0.10.0", None), tmp_path / "release")
    left = journals.write(
        dataclasses.replace(
            JOURNAL, phase=Phase.PREPARING, old_commit=git.commit_of("HEAD"), new_commit=release.commit
        )
    )

    def start(_folder: Path, _stage: object, variables: dict[str, str], _console: object) -> None:
        found = journals.read()
        assert found
        assert found.has_begun
        assert api.paused == {"/work_queues/default": True, "/work_queues/upgrade": True} or starts
        starts.append(variables)

    def server(_: object) -> FakeApi:
        return api

    monkeypatch.setattr(switch, "run_stage", start)
    monkeypatch.setattr(switch, "smoke", no_matter)
    monkeypatch.setattr(switch.PrefectApi, "of", server)
    for module, name in ((rollback_code, "keep"), (bundles, "take")):
        monkeypatch.setattr(module, name, no_matter)

    def run_it(
        settings: Mapping[str, str], meanwhile: Callable[[], None] = no_matter
    ) -> tuple[FakeApi, list[dict[str, str]]]:
        form: Any = FakeForm(file)
        form.stop = meanwhile
        switch.switch(form, git, left, Settings(dict(settings)), Console())
        return api, starts

    return run_it


def test_the_switch_is_quiet_also_with_queues_of_its_own(switching: Switching, checkout: Path) -> None:
    api, starts = switching({"WORKER_QUEUES": "default"})
    assert starts == [{"WORKER_QUEUES": f"{QUEUE},default"}, {}]
    assert set(api.paused.values()) == {False}
    assert api.queues == {"default", "upgrade"}
    assert (checkout / "new" / "b.py").exists()


def edits(checkout: Path) -> None:
    (checkout / "old.txt").write_text("changed during the trial\n")


def commits(checkout: Path) -> None:
    commit(checkout, {"flows/a.py": "committed during the trial\n"})


@pytest.mark.parametrize("change", [edits, commits])
def test_what_was_changed_while_the_worker_stops_is_left_alone(
    switching: Switching,
    checkout: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
) -> None:
    with pytest.raises(CommandError, match=r"changed here|went from commit"):
        switching({}, lambda: change(checkout))
    left, before, form = journals.read(), state_of(checkout), FakeForm(file)
    assert left
    assert (left.phase, left.has_files) == (Phase.SWITCHING, False)
    monkeypatch.setattr(rollback, "run_stage", no_matter)
    monkeypatch.setattr(rollback, "await_last_stage", no_matter)
    assert rollback.go_back(form, Git(checkout), left, Settings({}), Console()) == AS_BEFORE  # type: ignore[arg-type]
    assert (state_of(checkout), journals.read()) == (before, None)


def test_without_such_queues_one_start_is_enough(switching: Switching) -> None:
    assert switching({})[1] == [{}]


@pytest.mark.parametrize(
    ("change", "said"), [(edits, r"^old\.txt: changed here"), (commits, "^the checkout went from commit")]
)
def test_what_was_changed_during_the_trial_is_left_alone(
    switching: Switching, checkout: Path, change: Callable[[Path], None], said: str
) -> None:
    change(checkout)
    before = state_of(checkout)
    with pytest.raises(CommandError, match=said):
        switching({})
    left = journals.read()
    assert left
    assert (left.phase, state_of(checkout)) == (Phase.PREPARING, before)


def test_an_ended_upgrade_starts_the_platform_before_anything_is_asked(
    file: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    api = FakeApi()
    api.queues.add(QUEUE)

    def note(what: str) -> Callable[..., FakeApi]:
        def noted(*_: object) -> FakeApi:
            done.append(what)
            return api

        return noted

    monkeypatch.setattr(switch, "run_stage", note("start"))
    monkeypatch.setattr(switch.PrefectApi, "of", note("ask"))
    monkeypatch.setattr(command, "_clean", note("clean"))
    monkeypatch.setattr(command, "await_last_stage", no_matter)
    left = journals.write(dataclasses.replace(JOURNAL, phase=Phase.SWITCHED))
    form: Any = FakeForm(file)
    command.settle(left, form, None, Settings({}), Console())  # type: ignore[arg-type]
    assert done == ["start", "ask", "clean"]
    assert (api.queues, api.paused) == ({"upgrade", "default"}, {"/work_queues/q1": False})
    assert journals.read() is None


@pytest.mark.parametrize("error", [CommandError("broken"), ValueError("broken"), KeyError("broken")])
@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.SWITCHING])
def test_whatever_fails_in_the_switch_leads_back(
    state: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, phase: Phase
) -> None:
    back: list[Journal] = []

    def fails(*_: object) -> None:
        journals.write(dataclasses.replace(JOURNAL, phase=phase))
        raise error

    def goes_back(_form: object, _git: object, journal: Journal, *_: object) -> str:
        back.append(journal)
        return AS_BEFORE

    monkeypatch.setattr(command, "switch", fails)
    monkeypatch.setattr(command, "go_back", goes_back)
    monkeypatch.setattr(command, "_clean", no_matter)
    monkeypatch.setattr(command, "await_last_stage", no_matter)
    nothing: Any = None
    with pytest.raises(CommandError, match="broken") as raised:
        command.switch_or_go_back(nothing, nothing, JOURNAL, Settings({}), Console())
    assert len(back) == (phase is Phase.SWITCHING)
    assert str(raised.value).endswith("with its data as it was") == (phase is Phase.SWITCHING)


def test_a_disk_that_fails_before_the_switch_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device", "/srv/checkout/.local/upgrade/plan-today.txt")

    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "_upgrade", fails)
    with pytest.raises(CommandError, match=r"plan-today\.txt: No space left on device; log: upgrade\.log"):
        command.upgrade_platform(command.Wanted(), Settings({}))


def test_a_way_back_that_fails_for_any_reason_names_what_is_left_to_do(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/checkout/VERSION")

    monkeypatch.setattr(command, "go_back", fails)
    nothing: Any = None
    journals.write(JOURNAL)
    with pytest.raises(
        CommandError,
        match=r"0\.1\.0 failed: /srv/checkout/VERSION: Permission denied.* make restore FILE=ba",
    ):
        command.settle(JOURNAL, nothing, nothing, Settings({}), Console())
    assert journals.read() == JOURNAL


def test_the_upgrades_own_backup_may_be_restored_and_ends_it(
    file: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "before.tar"
    backup.touch()
    (tmp_path / "link.tar").symlink_to(backup)
    journals.write(dataclasses.replace(JOURNAL, backup=str(backup)))
    for other in (None, tmp_path / "other.tar"):
        with pytest.raises(CommandError, match=r"an upgrade to 0\.2\.0 was interrupted"):
            command.check_no_upgrade_is_left(other)
    command.check_no_upgrade_is_left(tmp_path / "link.tar")
    assert command.form_of_left(backup) == "local processes"
    form: Any = FakeForm(file)
    form.copy.make()

    def form_here(*_: object) -> FakeForm:
        return form

    monkeypatch.setattr(command, "_form", form_here)
    monkeypatch.setattr(command, "_clean", no_matter)
    command.forget_restored(backup, Settings({}), Console())
    assert journals.read() is None
    assert not form.copy.exists()
    command.check_no_upgrade_is_left()
