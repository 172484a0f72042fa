"""What a web page of somebody else can do to the platform through its user's browser: nothing."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.attacks import Attempt, foreign_server, variables
from tests.platforms import Platform

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("platform")]


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with foreign_server() as port:
        yield port


@pytest.mark.parametrize("host", ["attacker.example", "localhost"])
@pytest.mark.parametrize("target", ["localhost", "127.0.0.1"])
def test_page_of_another_origin_can_neither_read_nor_change(
    platform: Platform, browser: Browser, foreign_port: int, host: str, target: str
) -> None:
    name = f"planted_{platform.kind}_{host}_{target}".replace(".", "_")
    api = f"http://{target}:{platform.port}/api"
    attempt = Attempt(browser, f"http://{host}:{foreign_port}/", api, name)
    results = attempt.results
    unseen = {results.pop(what) for what in list(results) if what.startswith("write unseen")}
    assert unseen <= {"sent", "refused"}
    assert set(results.values()) == {"refused"}, results
    assert variables(platform, attempt.name) == []


def test_rebound_host_name_is_answered_with_a_refusal(platform: Platform, browser: Browser) -> None:
    address = f"http://attacker.example:{platform.port}"
    attempt = Attempt(browser, f"{address}/deployments", f"{address}/api", f"planted_rebound_{platform.kind}")
    results = attempt.results
    assert attempt.answer
    assert attempt.answer.status == 403
    assert "PREFECT_ALLOWED_HOSTS" in attempt.text
    statuses = {what: result[:3] for what, result in results.items() if not what.startswith("websocket")}
    assert set(statuses.values()) == {"403"}, results
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"refused"}
    assert variables(platform, attempt.name) == []


def test_own_page_can_do_all_of_it(platform: Platform, browser: Browser) -> None:
    """So that the attack above fails because of who makes it, not because it is badly made."""
    attempt = Attempt(
        browser, f"{platform.address}/deployments", f"{platform.address}/api", f"own_{platform.kind}"
    )
    results = attempt.results
    assert results["read"].startswith("200")
    assert results["read everything"].startswith("200")
    assert results["write"].startswith("201")
    assert {result for what, result in results.items() if what.startswith("websocket")} == {"open"}
    assert [variable["value"] for variable in variables(platform, attempt.name)] == ["planted"]
