#!/usr/bin/env python3
"""Runs a command with the platform's secret files turned into Prefect settings, and with its own CA trusted.

Prefect does not read ``*_FILE`` variables; this launcher does. For each setting below, ``NAME_FILE`` names a
file whose content becomes ``NAME`` in the environment of the command, which replaces this process, so that
signals reach it. An empty file means that the setting is off; a missing one is an error.

``CA_CERT_FILE`` names a PEM file of further certificates to trust, such as those of a company's own CA. They
and the usual ones become one file in ``PREFECT_HOME``, which every TLS library of the command then uses. An
empty or missing file changes nothing.

``DIRECT_HOSTS`` are names and addresses to reach without the environment's proxy, added to its ``NO_PROXY``.
Without a proxy it changes nothing.

For an API key, a further setting makes the client send it on websockets, too.

``FLOWS_GIT_SSH_KEY_FILE`` and ``FLOWS_GIT_KNOWN_HOSTS_FILE`` name git's key for ssh addresses, and the keys
of their hosts: both become ``GIT_SSH_COMMAND``. Two empty files change nothing.

``REDIS_URL``, without a password, and ``REDIS_PASSWORD_FILE`` name the Redis that several processes of one
server share; all of Prefect's settings for Redis follow from them, except those that are set already.

Usage: with-secrets COMMAND [ARGUMENT ...]
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

SECRET_SETTINGS = (
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_PASSWORD",
    "PREFECT_SERVER_ENCRYPTION_KEY",
)
# What one server keeps in memory and several share: events, slots, the end of cancelled runs.
SHARED_SETTINGS = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
    # Without these, a lost connection to Redis would be waited for without end.
    "PREFECT_REDIS_MESSAGING_SOCKET_TIMEOUT": "10",
    "PREFECT_REDIS_MESSAGING_SOCKET_CONNECT_TIMEOUT": "5",
    "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_SOCKET_TIMEOUT": "10",
    "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_SOCKET_CONNECT_TIMEOUT": "5",
}
REDIS_ADDRESSES = (
    "PREFECT_SERVER_DOCKET_URL",
    "PREFECT_REDIS_MESSAGING_URL",
    "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL",
)
# These tell OpenSSL, httpx, uv and Prefect's client, requests and pip, curl, git, and boto3 the certificates.
BUNDLE_SETTINGS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE")
PROXY_SETTINGS = ("http_proxy", "https_proxy", "all_proxy")  # also in capitals
# Where Debian, Fedora, SUSE and macOS keep the certificates that the system trusts.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_WORKSPACE_URL = r"(https?://.+)/accounts/[^/]+/workspaces/[^/]+/?"  # of Prefect Cloud


def environment_with_secrets(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which every known ``NAME_FILE`` is replaced by its ``NAME``.

    Raises:
        OSError: A named file is missing or unreadable.
        ValueError: A file and a value are given for the same setting, or a file holds several lines.
    """
    result = dict(environment)
    for name in SECRET_SETTINGS:
        path = result.pop(f"{name}_FILE", "")
        if not path:
            continue
        if result.get(name):
            raise ValueError(f"{name} and {name}_FILE are both set; remove one of them")
        value = Path(path).read_bytes().decode("utf-8").strip(" \t\r\n")  # the rest is the secret
        if "\n" in value:
            raise ValueError(f"{name}_FILE: {path} holds more than one line; a secret is one line of text")
        if value:
            result[name] = value
        else:
            result.pop(name, None)
    return {**settings_for_key(result), **result}


def settings_for_key(environment: dict[str, str]) -> dict[str, str]:
    """Return the settings with which Prefect's client sends an API key wherever the server asks for it.

    Prefect Cloud, recognised by its address, gets the key in Cloud's own way. To any other server, the client
    sends it only over HTTP; a custom header is sent on websockets, too.
    """
    key = environment.get("PREFECT_API_KEY")
    if not key or environment.get("PREFECT_API_AUTH_STRING"):  # which takes precedence, and needs no help
        return {}
    workspace = re.fullmatch(_WORKSPACE_URL, environment.get("PREFECT_API_URL", ""))
    if workspace:
        return {"PREFECT_CLOUD_API_URL": workspace[1]}
    return {"PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Authorization": f"Bearer {key}"})}


def own_certificates(path: Path) -> list[str]:
    """Return the certificates of the user's own CA file; none if it is empty or missing.

    Raises:
        ValueError: The file cannot be read, or holds something other than certificates in PEM form.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(
            f"CA_CERT_FILE cannot be read by user {os.getuid()} ({error.strerror}); "
            "give a PEM file, and make it readable: chmod a+r FILE, and where SELinux is on, "
            "chcon -t container_file_t FILE"
        ) from None
    if "PRIVATE KEY-----" in text:
        raise ValueError("CA_CERT_FILE holds a private key; give a file with the CA's certificates alone")
    if not text.strip():
        return []
    found: list[str] = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError(
            "CA_CERT_FILE holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); one in DER form "
            "is turned into it by: openssl x509 -inform der -in FILE -out ca.pem"
        )
    import ssl  # here, as platforms without a CA of their own start faster without it

    for number, certificate in enumerate(found, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError):
            raise ValueError(
                f"certificate {number} of {len(found)} in CA_CERT_FILE is damaged; export it again"
            ) from None
    return found


def environment_with_certificates(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which ``CA_CERT_FILE`` is replaced by the libraries' settings.

    Raises:
        OSError: The file of all certificates cannot be written.
        ValueError: The user's file cannot be used.
    """
    result = dict(environment)
    path = result.pop("CA_CERT_FILE", "")
    own = own_certificates(Path(path)) if path else []
    if not own:
        return result
    everything = "\n".join(dict.fromkeys([*own, *_usual_certificates(environment)])) + "\n"
    bundle = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser() / "ca-certificates.pem"
    if not bundle.is_file() or bundle.read_text(encoding="utf-8") != everything:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        scratch = bundle.with_suffix(f".{os.getpid()}")
        scratch.write_text(everything, encoding="utf-8")
        scratch.replace(bundle)  # atomically: another command may be reading it
    return result | dict.fromkeys(BUNDLE_SETTINGS, str(bundle))


def environment_with_ssh(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which git uses the key, and connects only to known hosts.

    OpenSSH refuses a key that others may read, so it gets a private copy in ``PREFECT_HOME``.

    Raises:
        OSError: A file is missing or unreadable, or the copy cannot be written.
        ValueError: Only one of the two is given.
    """
    result = dict(environment)
    names = ("FLOWS_GIT_SSH_KEY_FILE", "FLOWS_GIT_KNOWN_HOSTS_FILE")
    files = [result.pop(name, "") for name in names]
    key, hosts = (Path(file).read_text(encoding="utf-8").strip() if file else "" for file in files)
    if not key and not hosts:
        return result
    if not key or not hosts:
        missing, given = names if hosts else names[::-1]
        raise ValueError(
            f"{given} is set, and {missing} is not; git over ssh needs the key and its hosts' keys"
        )
    folder = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser() / "git-ssh"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in (("key", key), ("known_hosts", hosts)):
        scratch = folder / f"{name}.{os.getpid()}"
        scratch.touch(mode=0o600)
        scratch.write_text(text.replace("\r\n", "\n") + "\n", encoding="utf-8")
        scratch.replace(folder / name)  # atomically: another command may be using it
    options = [
        *("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes"),
        *(
            "ConnectTimeout=30",
            "GlobalKnownHostsFile=/dev/null",
            f'UserKnownHostsFile="{folder}/known_hosts"',
        ),
    ]
    command = ["ssh", "-F", "/dev/null", "-i", f"{folder}/key", *(f"-o{option}" for option in options)]
    return result | {"GIT_SSH_COMMAND": shlex.join(command)}


def environment_with_redis(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which all settings for Redis follow from its address.

    Raises:
        OSError: The file of its password is missing or unreadable.
        ValueError: The address is not one of Redis, or has a password in it.
    """
    result = dict(environment)
    url, file = result.pop("REDIS_URL", ""), result.pop("REDIS_PASSWORD_FILE", "")
    if not url:
        return result
    parts = urlsplit(url)
    if not re.fullmatch(r"rediss?(\+sentinel)?", parts.scheme) or not parts.netloc:
        raise ValueError("REDIS_URL is not an address of Redis; it looks like redis://redis.example.com:6379")
    if ":" in parts.netloc.rpartition("@")[0]:
        raise ValueError(
            "REDIS_URL has a password in it; put that into a file, and REDIS_PASSWORD_FILE in place"
        )
    password = Path(file).read_text(encoding="utf-8").strip() if file else ""
    user, _, host = parts.netloc.rpartition("@")
    login = f"{user}:{quote(password, safe='')}@" if password else f"{user}@" if user else ""
    address = parts._replace(netloc=f"{login}{host}").geturl()
    return {**SHARED_SETTINGS, **dict.fromkeys(REDIS_ADDRESSES, address), **result}


def environment_past_proxies(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which ``DIRECT_HOSTS`` are reached without a proxy."""
    result = dict(environment)
    direct = result.pop("DIRECT_HOSTS", "")
    if not any(result.get(name) or result.get(name.upper()) for name in PROXY_SETTINGS):
        return result
    given = result.get("no_proxy") or result.get("NO_PROXY") or ""
    hosts = dict.fromkeys(host for part in f"{given},{direct}".split(",") if (host := part.strip()))
    return result | dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(hosts))


def _usual_certificates(environment: dict[str, str]) -> Iterator[str]:
    """Yield every certificate that any of the libraries would trust anyway."""
    places = [*filter(None, map(environment.get, BUNDLE_SETTINGS)), *SYSTEM_BUNDLES]
    try:
        import certifi
    except ImportError:  # as in an image without packages
        pass
    else:
        places.append(certifi.where())
    for place in dict.fromkeys(places):
        if Path(place).is_file():
            yield from _CERTIFICATE.findall(Path(place).read_text(encoding="utf-8", errors="replace"))


def main() -> None:
    """Replace this process by the command, or exit with one sentence."""
    command = sys.argv[1:]
    if not command:
        sys.exit("with-secrets: name the command to run")
    try:
        environment = environment_with_certificates(environment_with_secrets(dict(os.environ)))
        environment = environment_with_redis(environment_with_ssh(environment))
        environment = environment_past_proxies(environment)
        os.execvpe(command[0], command, environment)  # noqa: S606 - the command replaces this process
    except (OSError, ValueError) as error:
        sys.exit(f"with-secrets: {error}")


if __name__ == "__main__":
    main()
