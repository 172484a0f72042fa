"""The command `yeedu-mock`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from yeedu_mock.check import check

if TYPE_CHECKING:
    from yeedu_mock.settings import Settings

DESCRIPTION = "A mock of the Yeedu API that real clients can be tested against, offline."
EPILOG = (
    "Each option may be given in the environment instead, by the name in brackets; the command line takes "
    "precedence. The password comes from YEEDU_MOCK_PASSWORD or a password file; without either, one is "
    "generated and kept in the state directory."
)


def main(arguments: list[str] | None = None) -> int:
    """Run the mock until it is told to stop.

    Args:
        arguments: The command line without the program's name; None takes the process's own.

    Returns:
        0 after a graceful shutdown, 1 if `--check` finds no healthy mock, 2 if an option cannot be used.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--check" in arguments:
        return check(arguments)
    # Imported here, like the server below, so that --check answers at once.
    from yeedu_mock.settings import SettingsError, add_arguments, read_settings

    parser = argparse.ArgumentParser(
        prog="yeedu-mock", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--check", action="store_true", help="ask the mock at --port whether it is healthy, and end"
    )
    add_arguments(parser)
    try:
        return _serve(read_settings(parser.parse_args(arguments)))
    except SettingsError as error:
        print(f"yeedu-mock: {error}", file=sys.stderr)
        return 2


def _serve(settings: Settings) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
