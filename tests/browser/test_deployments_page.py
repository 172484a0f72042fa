"""The page that README.md sends a newcomer to, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visits import NETWORK_CHANGED, Visitor
from tests.platforms import OUTPUT, Platform

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("platform")]


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Of a fresh page; the test fails if it logs an error or a request of it fails."""
    problems: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
    page.on("console", lambda m: problems.append(f"{m.text} {m.location}") if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda r: problems.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("requestfailed", lambda r: problems.append(f"{r.failure} {r.url}"))
    yield Visitor(page, problems)
    # Where nothing is dropped during a visit, it may be after it.
    assert [problem for problem in problems if NETWORK_CHANGED not in problem] == []
    page.close()


@pytest.mark.parametrize("host", ["localhost", "workstation.example"])
def test_deployments_are_listed_under_every_host_name(
    platform: Platform, visitor: Visitor, host: str
) -> None:
    page = visitor.page
    names = sorted(platform.api.deployments())

    def look() -> None:
        expect(page.get_by_text(f"{len(names)} Deployments")).to_be_visible()
        for name in names[:10]:  # a page of the list
            expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()

    visitor.visit(f"http://{host}:{platform.port}/deployments", look)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"deployments-{platform.kind}-{host}.png")


# On containers only: local processes keep their data in SQLite, which answers 503 to a page while it is
# locked, and the page then shows a notice and asks again.
@pytest.mark.docker
def test_run_page_shows_the_yeedu_log(platform: Platform, visitor: Visitor) -> None:
    run = platform.api.run("run-yeedu-job")
    platform.api.log_with(run["id"], "stdout")

    def look() -> None:
        expect(visitor.page.get_by_text("Completed").first).to_be_visible()
        expect(visitor.page.get_by_text("stdout").first).to_be_visible()

    visitor.visit(f"{platform.address}/runs/flow-run/{run['id']}", look)
