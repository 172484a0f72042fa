"""Checks whether git can read a repository, and explains why not without showing a login."""

import subprocess
from collections.abc import Mapping

from yeedu_worker.git.addresses import Address, without_login
from yeedu_worker.git.reasons import GitError, Reason
from yeedu_worker.git.remote import Remote

_HINTS = {
    Reason.NO_LOGIN: "give git one on this machine",
    Reason.CERTIFICATE: "name its CA's file in GIT_SSL_CAINFO",
    Reason.OWNER: "run 'git config --global --add safe.directory' on it as the worker's user",
    Reason.HOST_KEY: "compare it with the host's own, and add it to known_hosts as the worker's user",
    Reason.SSH_KEY: "let the host know the key of the worker's user, or name another in GIT_SSH_COMMAND",
    Reason.NO_SSH: "install an OpenSSH client",
}


def check_repository(url: str, revision: str, environment: Mapping[str, str]) -> str:
    """Return what keeps git from reading the repository; empty if nothing does.

    Args:
        url: An address or a folder, perhaps with a login, which the result never shows.
        revision: A branch, a tag or a commit; empty for the default branch.
        environment: The worker's, so that git uses the same certificates, proxies and settings.
    """
    if url.startswith("-") or revision.startswith("-"):
        shown = without_login(url)
        return f"--flows-git-url {shown!r} and --flows-git-ref {revision!r} may not begin with a dash"
    try:
        address = Address.of(url)
        Remote(address, environment, (address.login,) if address.login else (), _HINTS).revision(revision)
    except GitError as error:
        if error.reason is Reason.NO_GIT:
            return "not checked, because git does not run"
        option = "--flows-git-ref" if error.reason is Reason.NO_REVISION else "--flows-git-url"
        return f"{str(error).rstrip('.?')}; check {option}"
    return ""


def origin_of(checkout: str) -> str:
    """Return the address that a checkout was cloned from; empty if there is none."""
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
