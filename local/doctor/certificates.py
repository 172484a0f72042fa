"""Checks certificates: those of other servers, those in CA_CERT_FILE, and the platform's own."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from local.doctor.external_addresses import DATABASE_TLS, PORTS, external_addresses, proxy_to
from local.doctor.model import Finding, Level, note, ok, wrong
from local.doctor.site import ANSWER_SECONDS, Site
from local.settings.own_database import HOST as DATABASE_HOST
from local.settings.tls import mode_of
from local.status.metrics import age_of

_SOON = timedelta(days=14)
_RENEWAL = {
    "acme": "`docker compose logs proxy` says why none was issued; CA_CERT_FILE, for a CA of your own",
    "internal": "`docker compose logs proxy`, `docker compose restart proxy`",
    "files": "a new one in TLS_CERT_FILE, with its key; `docker compose up -d --force-recreate proxy`",
}


def check_certificates(site: Site) -> Iterator[Finding]:
    """Check whether other servers' certificates are trusted, and when they and CA_CERT_FILE's expire."""
    context = ssl.create_default_context()
    try:
        own = site.settings.ca_file()
        if own and own.is_file() and own.stat().st_size:
            context.load_verify_locations(own)
            yield from _own_authority(own)
    except (OSError, ssl.SSLError) as error:
        yield wrong(f"CA_CERT_FILE cannot be used: {error}", "name a file of certificates in PEM form")
    if site.settings.has_tls and site.runs("proxy"):
        yield _own_certificate(site, context)
    unchecked = " " if _is_on(site, "YEEDU_VERIFY_SSL") else "YEEDU_"
    seen: set[tuple[str, int]] = set()
    for setting, (scheme, host, port) in external_addresses(site).items():
        if scheme not in PORTS or (host, port) in seen or setting == "WAREHOUSE_URL":
            continue
        if setting == DATABASE_HOST and not _is_on(site, DATABASE_TLS):
            continue
        seen.add((host, port))
        if setting.startswith(unchecked):
            yield note(
                f"the certificate of {host} is not checked", "YEEDU_VERIFY_SSL=true, with CA_CERT_FILE"
            )
        elif proxy_to(scheme, host):
            yield note(f"the certificate of {host} ({setting}) was not checked: a proxy is between")
        else:
            yield certificate_of(setting, scheme, host, port, context)


def _own_authority(file: Path) -> Iterator[Finding]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    found = [
        _judged(
            f"a certificate in CA_CERT_FILE ({_name(one)})",
            one,
            "ask your company for a new one, or remove it",
        )
        for one in context.get_ca_certs()
    ]
    all_ended = all(one.level is Level.WRONG for one in found)
    for one in found:  # a bundle of many authorities has expired ones next to their successors
        yield one if all_ended or one.level is not Level.WRONG else note(one.text, one.fix)


def _own_certificate(site: Site, context: ssl.SSLContext) -> Finding:
    """Judge the certificate that the platform itself presents, as a visitor of PREFECT_UI_URL."""
    settings, fix = site.settings, _RENEWAL[mode_of(site.settings)]
    if mode_of(settings) == "internal":
        root = site.inside("proxy", "/etc/proxy/start", "root")
        with suppress(ssl.SSLError):  # output that is no certificate adds no trust
            context = ssl.create_default_context(cadata=root.output or None)
    host = urlsplit(settings.ui_url).hostname or ""
    what = f"the certificate of {host}, which the platform shows,"
    try:
        with (
            socket.create_connection((settings.near_address, settings.prefect_port), ANSWER_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            shown = cast("dict[str, Any]", encrypted.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        return wrong(f"{what} is not trusted by this machine: {error.verify_message}", fix)
    except (OSError, UnicodeError) as error:
        return wrong(
            f"the proxy shows no certificate for {host}: {getattr(error, 'reason', '') or error}", fix
        )
    if mode_of(settings) == "files":
        return _judged(what, shown, fix)
    begin, end = (ssl.cert_time_to_seconds(str(shown[one])) for one in ("notBefore", "notAfter"))
    # It is renewed when a third of its lifetime is left.
    return _judged(what, shown, fix, soon=timedelta(seconds=(end - begin) / 4))


def _is_on(site: Site, setting: str) -> bool:
    """Tell whether a setting is on, as the services read it; the default is on."""
    return site.settings.get(setting, "true").lower() in {"1", "true", "yes", "on"}


def certificate_of(setting: str, scheme: str, host: str, port: int, context: ssl.SSLContext) -> Finding:
    """Judge the certificate that a server presents."""
    what = f"{host}:{port} ({setting})"
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as plain:
            if scheme == "postgresql":
                plain.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest of Postgres' protocol
                if plain.recv(1) != b"S":
                    return wrong(
                        f"{what} takes no TLS", "switch `ssl` on there, or set ..._TLS_ENABLED=false"
                    )
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                shown = cast("dict[str, Any]", encrypted.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        return wrong(
            f"the certificate of {what} is not trusted: {error.verify_message}",
            "let its owner renew it, or name its CA's file in CA_CERT_FILE",
        )
    except (OSError, UnicodeError) as error:
        return wrong(
            f"{what} cannot be reached: {getattr(error, 'strerror', None) or error}",
            f"correct {setting} in .env",
        )
    return _judged(f"the certificate of {what}", shown, "let its owner renew it")


def _judged(what: str, certificate: dict[str, Any], fix: str, soon: timedelta = _SOON) -> Finding:
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left = end - datetime.now(UTC)
    if left < timedelta(0):
        return wrong(f"{what} ended {age_of(-left)} ago", fix)
    if left < soon:
        return note(f"{what} ends in {age_of(left)}", fix)
    return ok(f"{what} is good for {age_of(left)}")


def _name(certificate: Any) -> str:
    names = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return str(names.get("commonName") or names.get("organizationName") or "no name")
