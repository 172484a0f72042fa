"""Logs in to Yeedu and reads who that is, as flows do; run where flows run, by `local.doctor.access`.

Standard input has a JSON object: ``url`` (of a job or notebook), ``username``, ``password``, ``token`` and
``verify``. Prints a JSON object: ``trouble``, one sentence or empty, and ``text``.
"""

import json
import sys

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import NO_SUCH_CALL, Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.client.transport import Timeouts
from prefect_yeedu.errors import YeeduError
from prefect_yeedu.patience import ONCE
from prefect_yeedu.urls import parse_url


def main() -> None:
    """Log in and read, and print what came of it."""
    asked: dict[str, str] = json.load(sys.stdin)
    try:
        told = {"trouble": "", "text": read(asked)}
    except YeeduError as error:
        told = {"trouble": " ".join(str(error).split()), "text": ""}
    print(json.dumps(told))


def read(asked: dict[str, str]) -> str:
    """Return what was done.

    Raises:
        YeeduError: It could not be done.
    """
    url = parse_url(asked["url"])
    credentials = Credentials(
        asked["username"] or None, asked["password"] or None, asked["token"] or None, "YEEDU_TOKEN"
    )
    connection = Connection.to(url, credentials, TLSSettings.from_options(asked["verify"], None))
    with YeeduClient(connection, timeouts=Timeouts(3.0, 6.0), patience=ONCE) as client:
        client.log_in()
        client.call("GET", "user/info", "who we are", accepted=frozenset({200, *NO_SUCH_CALL}))
    return f"{connection.origin} takes the login, and answers"


if __name__ == "__main__":
    main()
