"""Keep secrets out of every text that leaves this package."""

from __future__ import annotations

import re
import threading
from urllib.parse import quote

MASK = "********"
_TOKEN_PATH = re.compile(r"(yeedu_session[/=])[^\s/?&#'\"]+")
_BEARER = re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]+")
MIN_SECRET_CHARACTERS = 4


class Redactor:
    """Replaces known secrets in texts; may be used by several threads."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, secret: str | None) -> None:
        """Have a secret replaced from now on; very short ones would make texts unreadable and are left."""
        if secret and len(secret) >= MIN_SECRET_CHARACTERS:
            with self._lock:
                self._secrets |= {secret, quote(secret, safe="")}

    def scrub(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return _BEARER.sub(rf"\1{MASK}", _TOKEN_PATH.sub(rf"\1{MASK}", text))
