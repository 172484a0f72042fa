"""How `make doctor` goes through its checks: none holds up the rest, and the page tells of all of them."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from local.doctor import run
from local.doctor import site as site_module
from local.doctor.masking import Masker
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.registry import THEMES
from local.doctor.run import Ward, doctor, document, examine, lines_of
from local.doctor.site import Site
from local.errors import CommandError
from local.settings.platform import ROOT
from local.tests.patients import CHECKS, NO_ENGINE, checkout, patient
from tests.platforms import copy_checkout, free_port

PAGE = ROOT / "docs" / "doctor.md"


def of(name: str, check: object) -> Theme:
    return Theme(f"theme of {name}", (Check(name, "", "", "", check),))  # type: ignore[arg-type]


def fine(_: Site) -> Iterator[Finding]:
    yield ok("fine, see https://me:canary@example.com/")


def test_check_that_hangs_is_told_and_holds_up_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hang(_: Site) -> Iterator[Finding]:
            yield note("begun")
            with socket.create_connection(silent.getsockname()) as connection:
                connection.recv(1)

        told = list(Ward(patient(tmp_path, {}), 3).go([of("hanging", hang), of("other", fine)]))
    assert [[one.level for one in each.findings] for each in told] == [["note", "WRONG"], ["ok"]]
    assert "timed out" in told[0].findings[1].text


def test_check_that_never_began_is_worth_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_AT_ONCE", 1)
    monkeypatch.setattr(run, "MIN_SECONDS", 2)
    release = threading.Event()

    def hang(_: Site) -> Iterator[Finding]:
        release.wait()
        yield ok("over")

    try:
        told = list(Ward(patient(tmp_path, {}), 60, 2).go([of("hanging", hang), of("other", fine)]))
    finally:
        release.set()
    assert [each.findings[0].level for each in told] == ["WRONG", "note"]
    assert told[1].findings[0].text == "not checked: out of time"


def test_check_that_fails_is_told_and_stops_no_other(tmp_path: Path) -> None:
    def refuse(_: Site) -> Iterator[Finding]:
        raise CommandError("the server rejects the login")

    def break_down(_: Site) -> Iterator[Finding]:
        raise KeyError("a mistake of ours")

    themes = [of("refusing", refuse), of("broken", break_down), of("other", fine)]
    told = list(examine(patient(tmp_path, {}), Masker([]), themes))
    assert [each.findings[0].text for each in told] == [
        "not checked: the server rejects the login",
        "not checked: KeyError: 'a mistake of ours'",
        "fine, see https://***@example.com/",
    ]


def test_lines_and_document_say_the_same_and_count(tmp_path: Path) -> None:
    def ill(_: Site) -> Iterator[Finding]:
        yield ok("one")
        yield wrong("two", "do this")

    told = list(Ward(patient(tmp_path, {})).go([of("ill", ill)]))
    assert list(lines_of(told)) == [
        "theme of ill",
        "  ok     ill                one",
        "  WRONG  ill                two",
        "                            fix: do this",
        "",
        "1 ok, 0 notes, 1 WRONG",
    ]
    found = document(patient(tmp_path, {}), told)
    assert found["counts"] == {"ok": 1, "note": 0, "WRONG": 1}
    assert cast("list[object]", found["findings"])[1] == {
        "theme": "theme of ill",
        "check": "ill",
        "level": "WRONG",
        "text": "two",
        "fix": "do this",
    }


@pytest.fixture
def engine_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(site_module, "ENGINE_SECONDS", 0.5)


@pytest.mark.usefixtures("engine_that_hangs")
def test_engine_that_hangs_is_wrong_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_PORT", str(free_port()))
    monkeypatch.setenv("YEEDU_MOCK_PORT", str(free_port()))
    assert doctor(as_json=True, bundle=None, root=checkout(tmp_path / "checkout")) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["form"] == "none"
    [told] = [one for one in found["findings"] if one["check"] == "engine"]
    assert (told["level"], "timed out" in told["text"]) == ("WRONG", True)


def test_server_that_never_answers_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {"PREFECT_PORT": str(silent.getsockname()[1])}
        site = patient(checkout(tmp_path), values, is_process_form=True)
        theme = next(one for one in THEMES if one.name == "runs")
        told = [*Ward(site).go([theme, Theme("", (CHECKS["server"],))])]
    assert [one.check for one in told if one.findings] == ["server"]
    assert told[-1].findings[0].level == "WRONG"


def test_it_needs_nothing_but_python_and_changes_nothing(tmp_path: Path) -> None:
    """Without site-packages, and from an empty PATH."""
    root = tmp_path / "checkout"
    copy_checkout(root)
    before = sorted(root.rglob("*"))
    environment = {
        "PATH": "/nonexistent",
        "PREFECT_PORT": str(free_port()),
        "YEEDU_MOCK_PORT": str(free_port()),
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-S", "-m", "local", "doctor"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "not looked at" not in done.stdout.replace("not checked: it takes a running worker", "")
    assert "docker is not installed" in done.stdout
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ ok, \d+ notes, 0 WRONG\n$", done.stdout)
    assert sorted(root.rglob("*")) == before


def test_names_are_unique_and_every_check_is_told_of_in_the_page() -> None:
    names = [check.name for theme in THEMES for check in theme.checks]
    assert len(names) == len(set(names)) > 30
    rows = [
        f"| `{check.name}` | {check.looks_at} | {check.wrong_when} | {check.fix} |"
        for theme in THEMES
        for check in theme.checks
    ]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `") and line.count(" | ") == 3] == rows


def test_page_tells_of_the_documents_form(tmp_path: Path) -> None:
    site = patient(tmp_path, {}, engine=NO_ENGINE)
    found = document(site, Ward(site).go([of("fine", fine)]))
    page = PAGE.read_text(encoding="utf-8")
    one = cast("list[dict[str, object]]", found["findings"])[0]
    assert [name for name in [*found, *one] if f"`{name}`" not in page] == []
