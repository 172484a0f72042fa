"""The environment of local processes: what they inherit from the user's, none of it private."""

import os
from collections.abc import Mapping
from pathlib import Path

# The places of programs and of the user's git settings; language and time zone; certificates; proxies.
_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LANGUAGE", "TZ"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
        "AWS_CA_BUNDLE",
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    }
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def child_environment(environment: Mapping[str, str], programs: Path) -> dict[str, str]:
    """Return the environment that every process of the platform starts from.

    Args:
        environment: The user's environment.
        programs: The folder of the virtual environment's programs, which comes first in PATH.
    """
    result = {
        name: value for name, value in environment.items() if name in _INHERITED or name.startswith("LC_")
    }
    result["PATH"] = os.pathsep.join([str(programs), environment.get("PATH") or os.defpath])
    result.setdefault("LANG", "C.UTF-8")
    # A proxy is for other machines: the platform's own parts talk to each other directly.
    own = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    result["NO_PROXY"] = result["no_proxy"] = ",".join([*filter(None, [own]), *_LOOPBACK])
    result["PYTHONUNBUFFERED"] = "1"
    return result
