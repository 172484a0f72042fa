"""A run with parameters of one's own, started from the deployment's page as a user would."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.platforms import OUTPUT, Platform
from tests.warehouse import query

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.xdist_group("platform")]

RUN = "yellow 2012: months 3, 4"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 1100}, color_scheme="light")
    yield page
    page.close()


def test_the_form_of_the_etl_is_filled_started_and_followed_to_its_end(
    platform: Platform, page: Page
) -> None:
    page.goto(f"{platform.address}/deployments", wait_until="networkidle")
    deployment = page.locator("a[href*='/deployments/deployment/']")
    page.get_by_role("link", name="load-taxi-trips", exact=True).and_(deployment).click()  # not its flow
    page.wait_for_url("**/deployments/deployment/**")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Custom run").click()

    expect(page.get_by_text("The months to load, 1 to 12.")).to_be_visible()
    numbers = page.locator("input[type=number]")
    expect(numbers).to_have_count(3)  # the default's two months, and the year
    for number, value in enumerate(("3", "4", "2012")):
        numbers.nth(number).fill(value)
    page.locator("button", has_text="green").focus()
    page.keyboard.press("ArrowDown")  # opens the list
    page.get_by_role("option", name="yellow").click()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"quick-run-{platform.kind}.png")
    page.get_by_role("button", name="Submit", exact=True).click()

    page.get_by_role("link", name=RUN, exact=True).first.click(timeout=90_000)
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=90_000)
    page.screenshot(path=OUTPUT / f"quick-run-done-{platform.kind}.png")

    [run] = [run for run in platform.api.runs("load-taxi-trips") if run["name"] == RUN]
    assert run["parameters"]["months"] == [3, 4]
    assert (run["parameters"]["year"], run["parameters"]["colour"]) == (2012, "yellow")
    assert platform.api.finished(run["id"])["state_type"] == "COMPLETED"
    counted = (
        "SELECT month, count(*) > 900 FROM taxi_trips WHERE year = 2012 AND colour = 'yellow' GROUP BY month"
    )
    assert {month for month, _ in query(platform, counted)} == {"3", "4"}
