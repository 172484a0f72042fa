"""Removes secrets, and characters that cannot be stored, from every text that leaves this package."""

from __future__ import annotations

import re
import threading
from urllib.parse import quote

MASK = "********"
_TOKEN_PATH = re.compile(r"(yeedu_session[/=])[^\s/?&#'\"]+")
_BEARER = re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]+")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
MIN_SECRET_CHARACTERS = 4


def storable(text: str) -> str:
    """Return a text without what a database or UTF-8 refuses: null characters and halves of surrogate pairs.

    A single such character costs Prefect a whole batch of log lines, or a run its final state.
    """
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class Redactor:
    """Replaces known secrets in texts; may be used by several threads."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, secret: str | None) -> None:
        """Register a secret to replace; skip very short ones, which would make texts unreadable."""
        if secret and len(secret) >= MIN_SECRET_CHARACTERS:
            with self._lock:
                self._secrets |= {secret, quote(secret, safe="")}

    def scrub(self, text: str) -> str:
        """Return the text without secrets and without characters that cannot be stored."""
        text = storable(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return _BEARER.sub(rf"\1{MASK}", _TOKEN_PATH.sub(rf"\1{MASK}", text))
