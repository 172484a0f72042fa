"""The tour of docs/first-hour.md: its pages are those of the sidebar, and its pictures are taken here.

`make pictures` puts the pictures into docs/images.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visits import PATIENCE_MILLISECONDS, Visitor
from tests.pages import ROOT, text
from tests.platforms import OUTPUT, Platform

pytestmark = [pytest.mark.browser, pytest.mark.long_locally, pytest.mark.xdist_group("platform")]

TOUR = text("docs/first-hour.md").split("## A tour of the UI")[1].split("\n## ")[0]
STOPS = re.findall(r"(?m)^\| (\w[\w ]*) \| ", TOUR)[1:]  # the first is the table's head


def picture(platform: Platform, name: str) -> Path:
    """Return the file of a picture: of this form of the platform, or the one in the documentation."""
    if os.environ.get("PICTURES"):
        return ROOT / "docs" / "images" / f"{name}.png"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    return OUTPUT / f"tour-{platform.kind}-{name}.png"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Of a page as a new user sees it."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    yield Visitor(page)
    page.close()


def test_sidebar_has_the_pages_of_the_tour_and_each_of_them_opens(
    platform: Platform, visitor: Visitor
) -> None:
    page = visitor.page

    def look() -> None:
        expect(page.get_by_role("link", name="Settings", exact=True)).to_be_visible()
        sidebar = page.locator("[data-sidebar] a").all_inner_texts()
        assert [link.strip() for link in sidebar] == STOPS
        for stop in STOPS:
            page.get_by_role("link", name=stop, exact=True).first.click()
            page.wait_for_url(re.compile(stop.lower().replace("event feed", "events").replace(" ", "-")))
            expect(page.locator("main").get_by_text(stop).first).to_be_visible()

    visitor.visit(platform.address, look)


def test_dashboard_shows_the_runs_of_the_last_day(platform: Platform, visitor: Visitor) -> None:
    platform.api.run("run-shell-command")
    page, deadline = visitor.page, time.monotonic() + 240

    def look() -> None:
        expect(page.get_by_text(re.compile(r"^[1-9]\d* total$")).first).to_be_visible(timeout=15_000)
        page.get_by_role("tab").nth(2).click()  # those that completed
        expect(page.get_by_text("run-shell-command").first).to_be_visible(timeout=15_000)

    while True:  # its day ends with the last full minute, so that a run is not seen before the next one
        try:
            visitor.visit(platform.address, look)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            break
    page.screenshot(path=picture(platform, "dashboard"))


def test_page_of_a_run_has_its_log_and_the_tabs_that_the_page_names(
    platform: Platform, visitor: Visitor
) -> None:
    page = visitor.page
    run = platform.api.run("run-yeedu-job")
    platform.api.log_with(run["id"], "stderr")

    def look() -> None:
        expect(page.get_by_text("stdout").first).to_be_visible()
        expect(
            page.get_by_text("did not generate any task or subflow runs")
        ).to_be_visible()  # its graph is drawn
        for tab in ("Logs", "Task Runs", "Subflow Runs", "Artifacts", "Parameters"):
            expect(page.get_by_role("tab", name=tab)).to_be_visible()
        page.screenshot(path=picture(platform, "run"))
        page.get_by_role("tab", name="Artifacts").click()
        page.wait_for_url("**tab=Artifacts**")

    visitor.visit(f"{platform.address}/v2/runs/flow-run/{run['id']}", look)


@pytest.mark.parametrize("design", ["", "/v2"])
def test_artifacts_of_all_runs_have_a_page(platform: Platform, visitor: Visitor, design: str) -> None:
    words = visitor.page.get_by_text("Artifacts", exact=True).first
    visitor.visit(f"{platform.address}{design}/artifacts", lambda: expect(words).to_be_visible())
