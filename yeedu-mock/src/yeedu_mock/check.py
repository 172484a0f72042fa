"""Asks the mock at a port whether it is healthy; imports little, as containers ask every few seconds."""

from __future__ import annotations

import argparse
import os
import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 3


def check(arguments: list[str]) -> int:
    """Return 0 if the mock that the options name is healthy, else 1; other options are ignored."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name, default in (("host", "127.0.0.1"), ("port", "8080"), ("tls-certificate", "")):
        variable = f"YEEDU_MOCK_{name.replace('-', '_').upper()}"
        parser.add_argument(f"--{name}", default=os.environ.get(variable) or default)
    options, _ = parser.parse_known_args(arguments)
    host = {"0.0.0.0": "127.0.0.1", "::": "localhost"}.get(options.host, options.host)  # noqa: S104
    url = f"{'https' if options.tls_certificate else 'http'}://{host}:{options.port}/healthCheck"
    handlers: list[urllib.request.BaseHandler] = []
    if options.tls_certificate:
        trust = ssl.create_default_context()
        trust.check_hostname = False  # it is told nothing secret, and its CA need not be known here
        trust.verify_mode = ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    # Never through a proxy that the environment may name: the mock is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return 0
    except (urllib.error.URLError, OSError, ValueError) as error:  # ValueError: the port is malformed
        print(f"yeedu-mock: {url} does not answer: {error}", file=sys.stderr)
        return 1
