"""The frame of the abuse tests: what each tries is said in words, and a table says what held."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
HERE = Path(__file__).parent
TIMEOUT_SECONDS = 300
OUTCOMES = ("FAILED", "admitted", "held", "not run")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test that does not say what it tries, and bound the others."""
    if not item.path.is_relative_to(HERE):
        return
    marker = item.get_closest_marker("tries")
    if marker is None or not marker.args:
        raise pytest.UsageError(f'{item.nodeid}: say what an attacker tries: @pytest.mark.tries("...")')
    item.user_properties.append(("tries", marker.args[0]))
    item.user_properties.append(("admits", marker.kwargs.get("admits", "")))
    if not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def risk_is_admitted(request: pytest.FixtureRequest) -> None:
    """Fail a test of what is admitted when docs/security.md does not say so."""
    admits = request.node.get_closest_marker("tries").kwargs.get("admits", "")
    said = _one_line(SECURITY.read_text(encoding="utf-8"))
    assert _one_line(admits) in said, f"docs/security.md does not say: {admits}"


@pytest.fixture(autouse=True)
def only_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test connect to loopback alone, where the project's own services and containers are published."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(connect: Any) -> Any:
    def guarded(connection: socket.socket, address: Any) -> Any:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            is_own = host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
            assert is_own, f"an abuse test talks to loopback alone, not to {host}"
        return connect(connection, address)

    return guarded


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table; tests that try one thing in several ways share a line."""
    lines: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for status in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(status, []):
            properties = dict(getattr(report, "user_properties", []))
            if "tries" in properties:
                file = Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_")
                outcome = _outcome(status, properties["admits"])
                lines.setdefault((file, properties["tries"]), []).append((outcome, properties["admits"]))
    if lines:
        terminalreporter.section("abuse")
        for line in _table(lines):
            terminalreporter.write_line(line)


def _outcome(status: str, admits: str) -> str:
    if status in ("failed", "error"):
        return "FAILED"
    if status != "passed":
        return "not run"
    return "admitted" if admits else "held"


def _table(lines: dict[tuple[str, str], list[tuple[str, str]]]) -> Iterator[str]:
    """Yield the table: what was tried at what, how often, how it went, and the sentence that admits it."""
    of_each = {
        tried: min((outcome for outcome, _ in ends), key=OUTCOMES.index) for tried, ends in lines.items()
    }
    file = ""
    for (place, tries), ends in sorted(lines.items()):
        if place != file:
            yield place
            file = place
        ways = f" ({len(ends)} ways)" if len(ends) > 1 else ""
        yield f"  {of_each[place, tries]:<9} {tries}{ways}"
        for admits in sorted({admits for _, admits in ends if admits}):
            yield f'{"":12}docs/security.md: "{_one_line(admits)}"'
    counts = [f"{count} {name}" for name in OUTCOMES if (count := [*of_each.values()].count(name))]
    yield f"{len(lines)} tried: {', '.join(reversed(counts))}"
