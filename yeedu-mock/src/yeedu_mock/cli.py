"""The command `yeedu-mock`."""

from __future__ import annotations

import argparse
import logging
import os
import ssl
import sys
import urllib.error
import urllib.request

from yeedu_mock.settings import Settings, SettingsError, add_arguments, read_settings

DESCRIPTION = "A mock of the Yeedu API that real clients can be tested against, offline."
EPILOG = (
    "Each option may be given in the environment instead, by the name in brackets; the command line goes "
    "first. The password comes from YEEDU_MOCK_PASSWORD or a password file; without either, one is generated "
    "and kept in the state directory."
)
CHECK_TIMEOUT_SECONDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the mock until it is told to stop.

    Args:
        arguments: The command line without the program's name; None takes the process's own.

    Returns:
        0 after an orderly end, 1 when `--check` finds no healthy mock, 2 when an option cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="yeedu-mock", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--check", action="store_true", help="ask the mock at --port whether it is healthy, and end"
    )
    add_arguments(parser)
    parsed = parser.parse_args(arguments)
    try:
        settings = read_settings(parsed, os.environ)
        return _check(settings) if parsed.check else _serve(settings)
    except SettingsError as error:
        print(f"yeedu-mock: {error}", file=sys.stderr)
        return 2


def _serve(settings: Settings) -> int:
    # Imported here so that --check and --help answer at once.
    from yeedu_mock.mock import open_mock
    from yeedu_mock.server import bind, serve, url_of

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listener = bind(settings)
    mock = open_mock(settings)
    print(f"yeedu-mock listens on {url_of(listener, settings)}, user {settings.username}", flush=True)
    if mock.generated_password_file is not None:
        print(f"The generated password is in {mock.generated_password_file}", flush=True)
    serve(mock, listener)
    return 0


def _check(settings: Settings) -> int:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    url = f"{settings.scheme}://{host}:{settings.port}/healthCheck"
    handlers: list[urllib.request.BaseHandler] = []
    if settings.tls_certificate is not None:
        trust = ssl.create_default_context()
        trust.check_hostname = False  # nothing is said to it, and its CA need not be known here
        trust.verify_mode = ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    # Never through a proxy that the environment may name: the mock is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
    try:
        with opener.open(url, timeout=CHECK_TIMEOUT_SECONDS):
            return 0
    except (urllib.error.URLError, OSError) as error:
        print(f"yeedu-mock: {url} does not answer: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
