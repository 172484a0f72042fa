"""The browser, with names of this machine that stand for a colleague's DNS and for an attacker's."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visits import PATIENCE_MILLISECONDS

expect.set_options(timeout=PATIENCE_MILLISECONDS)  # a page waits for the API as long as it takes

CHROMIUM = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    # workstation.example is in PREFECT_ALLOWED_HOSTS of the platforms under test, attacker.example is not.
    "--host-resolver-rules=MAP workstation.example 127.0.0.1, MAP attacker.example 127.0.0.1",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield browser
        browser.close()
