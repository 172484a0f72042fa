"""Visits of pages on a machine whose networks come and go, as other tests start containers.

Chromium drops what is under way when they do; whoever sits before it would load the page again.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page

NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
PATIENCE_MILLISECONDS = 60_000
VISITS = 10


class Visitor:
    """Does something on a page, again where Chromium dropped a request of it meanwhile.

    Args:
        page: The page.
        problems: What went wrong on it, as its listeners tell; that of a visit which did not count goes.
    """

    def __init__(self, page: Page, problems: list[str] | None = None) -> None:
        self.page = page
        self._problems = [] if problems is None else problems
        self._dropped = 0
        page.on("requestfailed", lambda request: self._note(request.failure))
        page.on("console", lambda message: self._note(message.text))  # as for a websocket

    def _note(self, text: str | None) -> None:
        self._dropped += NETWORK_CHANGED in (text or "")

    def visit(self, address: str, look: Callable[[], object]) -> None:
        """Open a page and look at it."""

        def visit() -> None:
            self.page.goto(address, wait_until="networkidle", timeout=PATIENCE_MILLISECONDS)
            look()

        self.undisturbed(visit)

    def undisturbed(self, call: Callable[[], None]) -> None:
        """Make a call until the network does not change during it; what it raises then is raised."""
        for _ in range(VISITS):
            before, known = self._dropped, len(self._problems)
            try:
                call()
            except (Error, AssertionError) as error:
                if self._dropped == before and NETWORK_CHANGED not in str(error):
                    raise
            else:
                if self._dropped == before:
                    return
            self.page.goto("about:blank")  # what is left of the visit ends with it
            del self._problems[known:]
        pytest.fail(f"the network changed during each of {VISITS} visits")
