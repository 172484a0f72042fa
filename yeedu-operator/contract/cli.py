"""The command: looks at the server that the environment names, and prints what it found."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import websocket

from contract.findings import Findings
from contract.probes.definitions import probe_definitions, probe_errors, sum_up_errors
from contract.probes.job_run import run_a_job
from contract.probes.lists import probe_apis, probe_lists
from contract.probes.logs import probe_logs
from contract.probes.notebook_run import run_a_notebook
from contract.probes.run_fields import probe_fields
from contract.probes.sessions import LoginError, close_session, open_session, probe_health
from contract.scan import Scan
from contract.server import Server, tls_context
from contract.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from contract.settings import Settings

READING = (probe_apis, probe_errors, probe_lists, probe_fields, probe_definitions, probe_logs)
RUNNING = (run_a_job, run_a_notebook)


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Scan a server and print the table.

    Returns:
        0 whatever was found; 2 where the server cannot be looked at, or the report not be written.
    """
    parser = argparse.ArgumentParser(
        prog="contract",
        description="Ask a Yeedu which of the things are so that the operator takes for granted.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to a file, as JSON")
    options = parser.parse_args(arguments)
    try:
        findings = probe_server(read_settings(environment))
    except (SettingsError, LoginError) as error:
        print(f"contract: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what was started has been stopped
    except OSError as error:  # as those of requests and of TLS are
        print(f"contract: {_why_unreachable(error)}", file=sys.stderr)
        return 2
    print(findings.as_text())
    if options.json:
        report = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), **findings.as_json()}
        try:
            options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            print(f"contract: {options.json} cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    return 0


def probe_server(settings: Settings) -> Findings:
    """Scan a server, and run something there if that is allowed.

    Raises:
        LoginError: There can be no session.
        requests.RequestException: It cannot be reached.
    """
    scan = Scan(settings, Server(settings.place, tls_context(settings.ca_file)), Findings())
    probe_health(scan)
    open_session(scan)
    try:
        for probe in (*READING, *(RUNNING if settings.starts_runs else ())):
            _guarded(scan, probe)
    finally:
        _guarded(scan, close_session)
    sum_up_errors(scan)
    if not settings.starts_runs:
        scan.findings.notes.append("Nothing was run: CONTRACT_RUNS=1 lets a job and a notebook be run.")
    return scan.findings


def _guarded(scan: Scan, probe: Callable[[Scan], None]) -> None:
    """Let a probe that is cut short leave the others alone."""
    try:
        probe(scan)
    except (requests.RequestException, websocket.WebSocketException, OSError) as error:
        name = probe.__name__.replace("_", " ")
        scan.findings.notes.append(f"`{name}` was cut short: {type(error).__name__}.")


def _why_unreachable(error: Exception) -> str:
    """Return a sentence about a server that cannot be reached; the error's own text may hold a secret."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "The server's certificate is not trusted; set CA_CERT_FILE to your CA's file, in PEM form."
    if isinstance(error, ssl.SSLError) and not isinstance(error, requests.RequestException):
        return "CA_CERT_FILE holds no certificates in PEM form."
    return (
        f"Nothing answers at YEEDU_URL ({type(error).__name__}); look at its host, its port and its scheme."
    )
