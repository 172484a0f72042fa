"""Asks git whether it can read a repository, and explains why not without showing a login."""

import subprocess
from collections.abc import Mapping

from attach.settings import without_login

_TIMEOUT_SECONDS = 60
# What git says -> what to tell; the first match counts.
_REASONS = (
    (
        ("could not read username", "could not read password"),
        "asks for a login; give git one on this machine",
    ),
    (("authentication failed", "error: 401", "error: 403"), "refused the login that git has for it"),
    (("could not resolve host",), "cannot be reached: its host name does not resolve"),
    (
        ("connection refused", "couldn't connect", "failed to connect"),
        "cannot be reached: nothing answers there",
    ),
    (("timed out",), "cannot be reached: the connection timed out"),
    (
        ("ssl certificate", "server certificate", "server verification failed"),
        "has a TLS certificate that is not trusted; name its CA's file in GIT_SSL_CAINFO",
    ),
    (
        ("dubious ownership",),
        "belongs to another user; run 'git config --global --add safe.directory' on it as the worker's user",
    ),
    (("permission denied (publickey", "host key verification"), "refused the SSH key of this user"),
    (
        ("not found", "does not exist", "does not appear to be a git repository", "error: 404"),
        "is not a git repository, or git's login may not see it",
    ),
)


def check_repository(url: str, revision: str, environment: Mapping[str, str]) -> str:
    """Return what hinders git from reading the repository; empty when nothing does.

    Args:
        url: An address or a folder, perhaps with a login, which the answer does not repeat.
        revision: A branch or tag; empty for the default branch.
        environment: The worker's, so that git meets the same certificates, proxies and settings.
    """
    shown = without_login(url)
    if url.startswith("-") or revision.startswith("-"):
        return f"--flows-git-url {shown!r} and --flows-git-ref {revision!r} may not begin with a dash"
    wanted = [f"refs/heads/{revision}", f"refs/tags/{revision}"] if revision else ["HEAD"]
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--", url, *wanted],
            env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "not checked, because git does not run"
    except subprocess.TimeoutExpired:
        return f"{shown}: no answer in {_TIMEOUT_SECONDS} s; check --flows-git-url"
    if done.returncode:
        return f"{shown} {_reason(done.stderr)}; check --flows-git-url"
    if not done.stdout.strip():
        what = f"no branch or tag {revision!r}; check --flows-git-ref" if revision else "no commit"
        return f"{shown} has {what}"
    return ""


def _reason(said: str) -> str:
    lower = said.lower()
    for patterns, reason in _REASONS:
        if any(pattern in lower for pattern in patterns):
            return reason
    return "cannot be read by git"


def origin_of(checkout: str) -> str:
    """Return the address that a checkout was cloned from; empty when there is none."""
    try:
        done = subprocess.run(
            ["git", "-C", checkout, "remote", "get-url", "origin"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
