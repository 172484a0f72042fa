"""Logs in to Yeedu as flows do, and reads the user's data; `local.doctor.access` runs it where flows run.

Reads a JSON object from standard input: ``url`` (of a job or notebook), ``username``, ``password``, ``token``
and ``verify``. Prints a JSON object: ``trouble`` (one sentence, or empty) and ``text``.
"""

import importlib.util
import json
import sys
from types import ModuleType

# The package itself imports Prefect, which takes seconds; the client needs none of it.
_PACKAGE = ModuleType("prefect_yeedu")
_FOUND = importlib.util.find_spec("prefect_yeedu")
_PACKAGE.__path__ = list(_FOUND.submodule_search_locations or ()) if _FOUND else []
sys.modules["prefect_yeedu"] = _PACKAGE

from prefect_yeedu.client.client import YeeduClient  # noqa: E402
from prefect_yeedu.client.connection import Connection  # noqa: E402
from prefect_yeedu.client.login import NO_SUCH_CALL, Credentials  # noqa: E402
from prefect_yeedu.client.tls import TLSSettings  # noqa: E402
from prefect_yeedu.client.transport import Timeouts  # noqa: E402
from prefect_yeedu.errors import YeeduError  # noqa: E402
from prefect_yeedu.retry_policy import ONCE  # noqa: E402
from prefect_yeedu.urls import parse_url  # noqa: E402


def main() -> None:
    """Log in, read the user's data, and print the result."""
    asked: dict[str, str] = json.load(sys.stdin)
    try:
        told = {"trouble": "", "text": read(asked)}
    except YeeduError as error:
        told = {"trouble": " ".join(str(error).split()), "text": ""}
    print(json.dumps(told))


def read(asked: dict[str, str]) -> str:
    """Log in, read the user's data, and return a sentence about it.

    Raises:
        YeeduError: The login or the call failed.
    """
    url = parse_url(asked["url"])
    credentials = Credentials(
        asked["username"] or None, asked["password"] or None, asked["token"] or None, "YEEDU_TOKEN"
    )
    connection = Connection.to(url, credentials, TLSSettings.from_options(asked["verify"], None))
    with YeeduClient(connection, timeouts=Timeouts(3.0, 6.0), retries=ONCE) as client:
        client.log_in()
        client.call("GET", "user/info", "who we are", accepted=frozenset({200, *NO_SUCH_CALL}))
    return f"{connection.origin} takes the login, and answers"


if __name__ == "__main__":
    main()
