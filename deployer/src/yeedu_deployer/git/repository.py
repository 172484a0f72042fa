"""Reads git repositories: checks a revision, fetches it, and explains failures without showing a secret."""

import base64
import difflib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from yeedu_deployer.errors import SourceError

GIT_TIMEOUT_SECONDS = 60
# git gets what it needs to reach a repository, and none of the deployer's secrets.
PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSH_COMMAND",
    "SSH_AUTH_SOCK",
)
# What git says -> what to tell; the first match counts.
REASONS = (
    (
        (
            "could not read username",
            "could not read password",
            "authentication failed",
            "error: 401",
            "error: 403",
        ),
        "refused",
    ),
    (("could not resolve host",), "cannot be reached: its host name does not resolve; check FLOWS_GIT_URL"),
    (
        ("connection refused", "couldn't connect", "failed to connect"),
        "cannot be reached: nothing answers there; check FLOWS_GIT_URL",
    ),
    (("timed out",), "cannot be reached: the connection timed out; check FLOWS_GIT_URL"),
    (
        # As curl says it with OpenSSL, and with GnuTLS up to version 7 and since.
        ("ssl certificate", "server certificate", "server verification failed", "tls connect", "ssl_connect"),
        "has a TLS certificate that is not trusted; name its CA's file in CA_CERT_FILE (or GIT_SSL_CAINFO)",
    ),
    (
        ("dubious ownership",),
        "belongs to another user, so git refuses it; run 'git config --global --add safe.directory' on it",
    ),
    (("permission denied (publickey", "host key verification"), "refused the SSH key"),
    (("permission denied",), "may not be read by this user"),
    (
        (
            "not found",
            "does not exist",
            "does not appear to be a git repository",
            "not a git repository",
            "error: 404",
        ),
        "is not a git repository, or the credential may not see it",
    ),
)


@dataclass(frozen=True)
class Credential:
    """A user name and password for a repository's host."""

    username: str = field(repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def from_token(cls, token: str, host: str) -> "Credential":
        """Form the credential that Prefect's git_clone step sends for a token.

        GitHub and unknown hosts get the token alone, GitLab `oauth2:`, Bitbucket `x-token-auth:`; for these
        two a token with a colon is a user name and a password already.
        """
        for provider, username in (("gitlab", "oauth2"), ("bitbucket", "x-token-auth")):
            if provider in host:
                user, colon, password = token.partition(":")
                return cls(user, password) if colon else cls(username, token)
        return cls(token)


@dataclass(frozen=True)
class Repository:
    """A repository to read, with its credential kept apart from its address.

    Attributes:
        url: URL or path, without any credential.
        credential: Sent as a header through git's environment, never as an argument.
    """

    url: str
    credential: Credential | None = None

    @classmethod
    def from_url(cls, url: str, token: str | Credential | None = None) -> "Repository":
        """Split a URL from the credential that it may carry.

        Raises:
            SourceError: The URL is empty, or a token would have to travel unencrypted.
        """
        if not url:
            raise SourceError("The git repository's URL is empty; set FLOWS_GIT_URL to a URL or a folder.")
        if url.startswith("-"):
            raise SourceError(f"The git URL {url!r} begins with a dash; it must be a URL or a folder.")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            return cls(url)
        host = parts.netloc.rpartition("@")[2]
        clean = urlunsplit(parts._replace(netloc=host))
        if token is not None:
            if parts.scheme != "https":
                raise SourceError(
                    f"A token is configured for {clean}, but Prefect sends tokens over https only; "
                    "use an https URL or leave the token out."
                )
            return cls(clean, token if isinstance(token, Credential) else Credential.from_token(token, host))
        if parts.username:
            return cls(clean, Credential(unquote(parts.username), unquote(parts.password or "")))
        return cls(clean)

    def check(self, revision: str = "") -> None:
        """Make sure that the repository answers and has the branch or tag; a commit is only seen by `fetch`.

        Raises:
            SourceError: One sentence with what is wrong.
        """
        if not revision:
            if not self._run("ls-remote", "--", self.url, "HEAD").strip():
                raise SourceError(f"The git repository {self.url} has no commit on its default branch.")
            return
        if is_commit(revision):
            self._run("ls-remote", "--", self.url, "HEAD")
            return
        wanted = (f"refs/heads/{revision}", f"refs/tags/{revision}")
        if self._run("ls-remote", "--", self.url, *wanted).strip():
            return
        names = [
            line.split("\t", 1)[1].removeprefix("refs/heads/").removeprefix("refs/tags/")
            for line in self._run("ls-remote", "--refs", "--heads", "--tags", "--", self.url).splitlines()
        ]
        near = difflib.get_close_matches(revision, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(names)[:10]) or 'none'}."
        raise SourceError(f"The git repository {self.url} has no branch or tag {revision!r}; {hint}")

    def fetch(self, revision: str, folder: Path) -> None:
        """Fetch one revision without history into an empty folder.

        Raises:
            SourceError: One sentence with what is wrong.
        """
        self._run("init", "--quiet", "--", str(folder))
        self._run("fetch", "--quiet", "--depth=1", "--", self.url, revision or "HEAD", folder=folder)
        self._run("checkout", "--quiet", "--detach", "FETCH_HEAD", folder=folder)

    def _run(self, *arguments: str, folder: Path | None = None) -> str:
        try:
            completed = subprocess.run(
                ["git", *arguments],
                cwd=folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=GIT_TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise SourceError("git is not installed, or not on PATH.") from None
        except subprocess.TimeoutExpired:
            raise SourceError(
                f"The git repository {self.url} cannot be reached: no answer in {GIT_TIMEOUT_SECONDS} s; "
                f"check FLOWS_GIT_URL."
            ) from None
        if completed.returncode:
            raise SourceError(self._explain(completed.stderr))
        return completed.stdout

    def _environment(self) -> dict[str, str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in PASSED_ON or name.startswith("GIT_CONFIG_")
        }
        environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": ""}
        if self.credential:
            pair = f"{self.credential.username}:{self.credential.password}".encode()
            parts = urlsplit(self.url)
            count = int(environment.get("GIT_CONFIG_COUNT") or 0)
            environment |= {
                "GIT_CONFIG_COUNT": str(count + 1),
                f"GIT_CONFIG_KEY_{count}": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
                f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {base64.b64encode(pair).decode()}",
            }
        return environment

    def _explain(self, stderr: str) -> str:
        said = stderr.lower()
        last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "git gave no reason")
        reason = next(
            (reason for patterns, reason in REASONS if any(pattern in said for pattern in patterns)),
            f"cannot be read: {last.removeprefix('fatal: ').strip().rstrip('.')}",
        )
        if reason == "refused":
            reason = (
                "refused the credential; check that it is valid and may read the repository"
                if self.credential
                else "asks for a credential; name a token's file in FLOWS_GIT_TOKEN_FILE"
            )
        return f"The git repository {self.url} {reason}."


def is_commit(revision: str) -> bool:
    """Tell whether a revision is a full commit id."""
    return len(revision) in (40, 64) and all(character in "0123456789abcdef" for character in revision)
