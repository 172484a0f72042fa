"""Limits the host names under which the mock answers, against DNS rebinding."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from yeedu_mock.errors import NoAccessError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

_HOST = re.compile(r"(?:\[(?P<address>[^][]+)\]|(?P<name>[^][:/?#@,\s]+))(?::\d+)?")


class Names:
    """The mock's names: addresses, names without a dot, names below `.localhost`, and what is configured.

    Nobody outside can own a name without a dot, and a page that was loaded from an address has no name that
    could be made to resolve elsewhere.

    Args:
        allowed: More names, without ports; `*.example.com` stands for all names below `example.com`.
        external_url: The base of the URLs handed out, whose host is allowed too.
    """

    def __init__(self, allowed: Iterable[str], external_url: str | None) -> None:
        own = urlsplit(external_url or "").hostname
        self._known = {name.lower() for name in (*allowed, own) if name}

    def refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request under another name, or None."""
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = ", ".join(sent).lower()
        if self._is_known(host):
            return None
        wrong = NoAccessError(
            f"{host!r} is not a name of this mock; if it should be one, start it with "
            "--allowed-hosts (or YEEDU_MOCK_ALLOWED_HOSTS)."
        )
        return JSONResponse(wrong.body(), wrong.status)

    def _is_known(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts["address"] or parts["name"]
        if "." not in name or name.endswith(".localhost") or name in self._known:
            return True
        if any(name.endswith(known[1:]) for known in self._known if known.startswith("*.")):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
