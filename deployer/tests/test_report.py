"""What a person sees: a table on a terminal, plain lines elsewhere, and never a secret."""

import io
import sys

import pytest

from yeedu_deployer.errors import ServerError
from yeedu_deployer.report import Outcome, Report

LINK = "http://localhost:8080/deployments/deployment/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def report():
    report = Report(secrets=("canary-secret", "canary-secret-long", "job"))
    report.add("deployment", "run-yeedu-job [1]", Outcome.CHANGED, "parameters, tags", LINK)
    report.add("work pool", "yeedu-pool", Outcome.UNCHANGED)
    report.fail("deployment", "one", ServerError("The server said canary-secret-long and canary-secret."))
    report.fail("deployment", "two", ServerError("The server said canary-secret-long and canary-secret."))
    return report


def test_plain_lines_hold_everything_once(report, capsys):
    report.print()

    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"deployment: run-yeedu-job [1]: changed  parameters, tags  {LINK}",
        "work pool: yeedu-pool: unchanged",
        "deployment: one: failed",
        "deployment: two: failed",
    ]
    assert printed.err == "error: The server said ******** and ********.\n"


def test_no_name_forges_a_line_or_steers_the_terminal(report, capsys, monkeypatch):
    evil = "evil \x1b[2J\r\nwork pool: forged: unchanged"
    report.add("deployment", evil, Outcome.CHANGED)
    report.failures.append(f"{evil} failed")
    report.print()
    plain = capsys.readouterr()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    report.print()

    assert r"deployment: evil \x1b[2J\r\nwork pool: forged: unchanged: changed" in plain.out.splitlines()
    assert r"error: evil \x1b[2J\r\nwork pool: forged: unchanged failed" in plain.err.splitlines()
    assert r"evil \x1b[2J\r\nwork pool" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_a_terminal_gets_a_table_whose_links_are_whole(report, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")

    report.print()

    assert LINK in terminal.getvalue()
    assert "run-yeedu-job [1]" in terminal.getvalue()
    assert len(terminal.getvalue().splitlines()) == 1 + len(report.rows)
