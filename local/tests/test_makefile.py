"""What `make` hands to the program: a value of a user's is one argument, whatever is in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings.platform import ROOT
from local.tests.test_upgrade_releases import checkout, origin
from local.upgrade import journal as journals
from local.upgrade import rollback_code
from local.upgrade.git import Git
from local.upgrade.journal import Journal, Phase

__all__ = ["checkout", "origin"]  # fixtures
OF_A_TARGET = {"FILE", "NAME", "ARGS", "VERSION", "FROM", "DRY_RUN", "PYTHONS", "BUNDLE", "JSON"}
SPACED = "backups/before upgrade; it's $5.tar"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A stand-in for Python that writes down its arguments, and ends with the code that it is told."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "print(json.dumps(sys.argv[1:]))\nsys.exit(int(os.environ.get('CODE', '0')))\n"
    )
    program.chmod(0o755)
    return program


def make(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if name not in OF_A_TARGET}
    return subprocess.run(
        ["make", f"PYTHON={program}", *arguments],
        cwd=ROOT,
        env={**ours, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        (["backup", f"FILE={SPACED.replace('$', '$$')}"], ["backup", SPACED]),
        (["restore", "FILE=a b.tar"], ["restore", "a b.tar"]),
        (["backup"], ["backup"]),
        (["new-flow", "NAME=team/daily report"], ["new-flow", "team/daily report"]),
        (["new-flow"], ["new-flow"]),
        (["release", "VERSION=1.4.0"], ["release", "1.4.0"]),
        (["release"], ["release"]),
        (["bundle", "FILE=a b.tar", "PYTHONS=3.12 3.13"], ["bundle", "a b.tar", "--pythons", "3.12 3.13"]),
        (["bundle"], ["bundle"]),
        (["deploy", "ENVIRONMENT=my staging"], ["deploy", "--environment", "my staging"]),
        (["plan", "ONLY='a b' parking/*"], ["plan", "--only", "'a b' parking/*"]),
        (["plan", "ARGS=--json --timeout 5"], ["plan", "--", "--json", "--timeout", "5"]),
        (["status", "ENVIRONMENT=staging", "ONLY=a"], ["status", "--environment", "staging", "--only", "a"]),
        (["status"], ["status"]),
        (["doctor"], ["doctor"]),
        (["doctor", "JSON=1"], ["doctor", "--json"]),
        (["doctor", "BUNDLE=1"], ["doctor", "--bundle"]),
        (["doctor", "BUNDLE=my file.tar.gz"], ["doctor", "--bundle", "my file.tar.gz"]),
        (["upgrade"], ["upgrade"]),
        (
            ["upgrade", "VERSION=1.2.3", "FROM=my bundle", "DRY_RUN=1"],
            ["upgrade", "--version", "1.2.3", "--from", "my bundle", "--dry-run"],
        ),
        (["upgrade", "DRY_RUN=0"], ["upgrade"]),
    ],
)
def test_a_value_is_one_argument(told: Path, arguments: list[str], handed: list[str]) -> None:
    done = make(told, *arguments)
    assert json.loads(done.stdout) == ["-m", "local", *handed], done.stderr


@pytest.mark.parametrize(
    ("target", "code", "fails"),
    [
        ("plan", "2", False),
        ("status", "2", False),
        ("plan", "1", True),
        ("status", "1", True),
        ("deploy", "2", True),
    ],
)
def test_changes_and_drift_are_no_failure(told: Path, target: str, code: str, fails: bool) -> None:
    assert bool(make(told, target, CODE=code).returncode) == fails


@pytest.mark.parametrize(
    ("phase", "has_programs", "handed"),
    [
        ("switching", True, [".local/upgrade/code", "upgrade"]),
        ("switching", False, ["-m", "local", "upgrade"]),
        ("preparing", True, ["-m", "local", "upgrade"]),
        ("", True, ["-m", "local", "upgrade"]),
    ],
)
def test_the_way_back_is_run_by_the_kept_programs(
    told: Path, tmp_path: Path, phase: str, has_programs: bool, handed: list[str]
) -> None:
    state = tmp_path / ".local" / "upgrade"
    state.mkdir(parents=True)
    if phase:
        journals.write(Journal("containers", "0.1.0", "0.2.0", "a", phase=Phase(phase)), state)
    if has_programs:
        rollback_code.keep(ROOT, state)
    command = ["make", f"--file={ROOT / 'Makefile'}", f"PYTHON={told}", "upgrade"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == handed, done.stderr


def test_the_kept_programs_work_on_the_checkout_without_its_own(checkout: Path) -> None:
    """As when half of the new release's files are there: none of the checkout's is imported."""
    state = checkout / ".local" / "upgrade"
    journal = Journal("local processes", "0.9.0", "0.10.0", "a", "b", "before.tar", phase=Phase.SWITCHING)
    journals.write(journal, state)
    rollback_code.keep(ROOT, state)
    (checkout / "local").mkdir()
    (checkout / "local" / "__init__.py").write_text("raise SystemExit('half of a release')\n")
    command = [sys.executable, str(state / "code"), "upgrade"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    head = Git(checkout).commit_of("HEAD")[:12]
    assert done.stderr.startswith(
        f"make upgrade: the rollback to 0.9.0 failed: {checkout} is at the commit {head}, which is of"
    ), done.stderr
    assert journals.read(state) == journal
    assert not (state / "code" / "local" / "tests").exists()
