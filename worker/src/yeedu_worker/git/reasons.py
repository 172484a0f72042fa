"""Explains a git failure in one sentence, without showing a login."""

from collections.abc import Mapping
from enum import Enum


class Reason(Enum):
    """What is wrong with a repository: what git prints, in lower case, and what people are told."""

    NO_SPACE = (("no space left on device", "disk quota exceeded"), "does not fit: no space is left")
    NO_SSH = (("cannot run ssh", "ssh: not found", "unable to fork"), "needs ssh, which is not installed")
    NO_USER = (("no user exists for uid",), "needs ssh, which runs for no user without a name")
    HOST_KEY = (("host key verification", "host identification has changed"), "has an unknown host key")
    SSH_KEY = (("permission denied (", "too many authentication failures"), "refused the SSH key")
    NO_LOGIN = (("could not read username", "could not read password"), "asks for a credential")
    REFUSED = (("authentication failed", "error: 401", "error: 403"), "refused the credential")
    NO_HOST = (
        ("could not resolve host", "name or service not known", "temporary failure in name resolution"),
        "cannot be reached: its host name does not resolve",
    )
    NO_ANSWER = (
        ("connection refused", "couldn't connect", "failed to connect"),
        "cannot be reached: nothing answers there",
    )
    TIMED_OUT = (("timed out",), "cannot be reached: the connection timed out")
    # As curl says it with OpenSSL, and with GnuTLS, up to version 7 and later.
    CERTIFICATE = (
        ("ssl certificate", "server certificate", "server verification failed", "tls connect", "ssl_connect"),
        "has a TLS certificate that is not trusted",
    )
    OWNER = (("dubious ownership",), "belongs to another user, so git refuses it")
    UNREADABLE = (("permission denied",), "may not be read by this user")
    MISSING = (
        ("not found", "does not exist", "does not appear to be a git repo", "not a git repo", "error: 404"),
        "is not a git repository, or the credential may not see it",
    )
    NO_COMMIT = ((), "has no commit on its default branch")
    NO_REVISION = ((), "has no such branch or tag")
    SILENT = ((), "cannot be reached: no answer")
    NO_GIT = ((), "cannot be read: git is not installed, or not on PATH")
    OTHER = ((), "cannot be read")

    @property
    def patterns(self) -> tuple[str, ...]:
        """What git prints, in lower case."""
        return self.value[0]

    @property
    def text(self) -> str:
        """What people are told."""
        return self.value[1]


Hints = Mapping[Reason, str]

_SSH = "name a key in FLOWS_GIT_SSH_KEY_FILE, and the host's keys in FLOWS_GIT_KNOWN_HOSTS_FILE"
# What to do about each reason on the platform.
PLATFORM_HINTS: Hints = {
    **dict.fromkeys(
        (Reason.NO_HOST, Reason.NO_ANSWER, Reason.TIMED_OUT, Reason.SILENT), "check FLOWS_GIT_URL"
    ),
    Reason.NO_LOGIN: "name a token's file in FLOWS_GIT_TOKEN_FILE, which is for FLOWS_GIT_URL's host alone, "
    "or a block in the step's access_token",
    Reason.REFUSED: "check that it is valid and may read the repository",
    Reason.MISSING: "check its address and the login",
    Reason.NO_COMMIT: "push one",
    Reason.CERTIFICATE: "name its CA's file in CA_CERT_FILE (or GIT_SSL_CAINFO)",
    Reason.OWNER: "run 'git config --global --add safe.directory' on it",
    Reason.HOST_KEY: _SSH,
    Reason.SSH_KEY: _SSH,
    Reason.NO_SSH: "install an OpenSSH client",
    Reason.NO_USER: "leave CHECKOUT_UID out of .env, or use an https address",
    Reason.NO_SPACE: "name what the flow needs in the step's 'directories', or another place in TMPDIR",
}


class GitError(Exception):
    """Git cannot do what it was asked to; the message is one sentence for people, and shows no login.

    Attributes:
        reason: What is wrong.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[type["GitError"], tuple[Reason, str]]:
        return (type(self), (self.reason, str(self)))


def reason_of(said: str) -> Reason:
    """Return the first reason whose patterns match git's standard error."""
    lower = said.lower()
    return next(
        (reason for reason in Reason if any(pattern in lower for pattern in reason.patterns)), Reason.OTHER
    )


def explained(url: str, reason: Reason, hints: Hints, detail: str = "") -> GitError:
    """Return the error with its sentence.

    Args:
        url: The repository's address, without a login.
        reason: What is wrong.
        hints: What to do about a reason, for those where something can be done.
        detail: Follows the reason's own text.
    """
    hint = hints.get(reason, "")
    return GitError(reason, f"The git repository {url} {reason.text}{detail}{hint and f'; {hint}'}.")


def last_words(said: str) -> str:
    """Return the last line of git's standard error, to end a sentence with."""
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "git gave no reason")
    return last.removeprefix("fatal: ").removeprefix("error: ").strip().rstrip(".")
