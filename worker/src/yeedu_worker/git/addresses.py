"""Addresses of git repositories, and the credentials for their hosts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from yeedu_worker.git.reasons import GitError, Reason

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LOGIN = re.compile(r"(?<=://)[^/?#]*@")
# git@host:team/flows.git, in scp's form; one letter before the colon is a Windows drive.
_SCP = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/@:\[]{2,}|\[[^\]/]+\]):(?!//)")
# Hosts that are known to accept a token in place of the user name.
_TAKE_TOKEN_ALONE = re.compile(r"(^|\.)(github\.com|dev\.azure\.com|visualstudio\.com|codeberg\.org)(:|$)")


@dataclass(frozen=True)
class Login:
    """A user name and a password for a repository's host."""

    username: str = field(repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Address:
    """Where a repository is.

    Attributes:
        url: Its URL or folder; without a login, but with the user of an ssh address.
        scheme: `https`, `http`, `ssh`, `file` and the like; empty for a folder.
        host: Its host, with the port where one is named; empty for a folder.
        login: The login that the URL carried, over http and https.
    """

    url: str
    scheme: str = ""
    host: str = ""
    login: Login | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """Parse an address.

        Raises:
            GitError: It is empty, or not an address.
        """
        if not url:
            raise GitError(
                Reason.OTHER, "The git repository's URL is empty; set FLOWS_GIT_URL to a URL or a folder."
            )
        if url.startswith("-"):
            raise GitError(
                Reason.OTHER, f"The git URL {url!r} begins with a dash; it must be a URL or a folder."
            )
        if "://" not in url:
            scp = _SCP.match(url)
            return cls(url, "ssh", scp["host"]) if scp else cls(url)
        try:
            parts = urlsplit(url)
            _ = parts.port  # it is checked only when it is read
        except ValueError as error:
            raise GitError(
                Reason.OTHER,
                f"The git URL {without_login(url)!r} cannot be read ({error}); "
                "it looks like https://HOST/TEAM/REPOSITORY.git.",
            ) from None
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("http", "https"):
            return cls(url, parts.scheme, host)
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        login = Login(username, password) if username or password else None
        return cls(urlunsplit(parts._replace(netloc=host)), parts.scheme, host, login)

    def with_login(self, login: Login | None) -> str:
        """Return the URL with a login in it, as git itself keeps it in a clone."""
        if login is None or self.scheme not in ("http", "https"):
            return self.url
        password = f":{quote(login.password, safe='')}" if login.password else ""
        return self.url.replace("://", f"://{quote(login.username, safe='')}{password}@", 1)


def logins_of_token(token: str, host: str) -> tuple[Login, ...]:
    """Return the logins to try in turn for a token; the first is the one of Prefect's git_clone step.

    A token with a colon is already a user name and a password. GitLab, Bitbucket and hosts that accept a
    token in place of the user name are known by their host names. For any other host, all forms are tried: a
    GitHub Enterprise Server, Azure DevOps or Gitea takes the token alone, a GitLab under another name wants
    the user `oauth2`, and a Bitbucket `x-token-auth`.
    """
    username, colon, password = token.partition(":")
    if colon:
        return (Login(username, password),)
    if "gitlab" in host:
        return (Login("oauth2", token),)
    if "bitbucket" in host:
        return (Login("x-token-auth", token),)
    if _TAKE_TOKEN_ALONE.search(host):
        return (Login(token),)
    return (Login(token), Login("oauth2", token), Login("x-token-auth", token))


def logins_of(address: Address, fields: Mapping[str, object]) -> tuple[Login, ...]:
    """Return the logins to try in turn for the credentials of a git_clone step, or of a block.

    Raises:
        GitError: They hold no token.
    """
    if not fields:
        return (address.login,) if address.login else ()
    if address.scheme != "https":  # as in Prefect: no secret goes unencrypted
        return ()
    given = (str(fields.get(name) or "") for name in ("access_token", "token", "password"))
    token, username = next(filter(None, given), ""), str(fields.get("username") or "")
    if not token:
        raise GitError(Reason.REFUSED, f"The credential for {address.url} holds no token.")
    return (Login(username, token),) if username else logins_of_token(token, address.host)


def without_login(url: str) -> str:
    """Return an address without user name and password, so that it may be shown."""
    return url if url.startswith("ssh:") else _LOGIN.sub("", url)


def is_commit(revision: str) -> bool:
    """Tell whether a revision is a full commit id."""
    return bool(_COMMIT.fullmatch(revision))
