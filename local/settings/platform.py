"""The platform's settings (``.env.example``), from the environment and ``.env``; the environment wins."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from local.errors import CommandError
from local.settings.dotenv import read_dotenv

CHECKOUT = "UPGRADE_CHECKOUT"  # set where these programs are kept elsewhere for the rollback of an upgrade
ROOT = Path(os.environ.get(CHECKOUT) or Path(__file__).parents[2])
# Only ``.env`` chooses another server or database: people export these for their own command line.
OF_THE_FILE = frozenset({"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_KEY_FILE"})
OF_THE_DATABASE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")
TLS_OVERLAY = "deploy/tls.yaml"
LOGIN = frozenset({"PREFECT_API_AUTH_STRING", "PREFECT_API_AUTH_STRING_FILE"})


@dataclass(frozen=True, repr=False)
class Settings:
    """Every value that the user set, by name. It has no useful ``repr``, since passwords are among them."""

    values: Mapping[str, str]

    @classmethod
    def read(cls, root: Path = ROOT) -> "Settings":
        """Read ``.env`` next to the compose file, overridden by this process's environment."""
        environment = environment_of_commands()
        return cls({**read_dotenv(root / ".env", environment), **environment})

    def get(self, name: str, default: str = "") -> str:
        """Return the value, or the default if it is unset or empty (``${NAME:-default}``)."""
        return self.values.get(name) or default

    def given(self, name: str, default: str = "") -> str:
        """Return the value even if it is empty, or the default if it is unset (``${NAME-default}``)."""
        return self.values.get(name, default)

    def port(self, name: str, default: int) -> int:
        """Return a setting that is a TCP port.

        Raises:
            CommandError: It is not a whole number from 1 to 65535.
        """
        text = self.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise CommandError(f"{name}={text!r} is not a port: set it to a whole number from 1 to 65535")
        return int(text)

    def seconds(self, name: str, default: int) -> int:
        """Return a setting that is a time in whole seconds.

        Raises:
            CommandError: It is not a whole number above 0.
        """
        return self._whole(name, default, "a time: set it to a whole number of seconds")

    def count(self, name: str, default: int) -> int:
        """Return a setting that is a count.

        Raises:
            CommandError: It is not a whole number above 0.
        """
        return self._whole(name, default, "a number: set it to 1 or more")

    def _whole(self, name: str, default: int, what: str) -> int:
        text = self.get(name, str(default))
        if not text.isdecimal() or not int(text):
            raise CommandError(f"{name}={text!r} is not {what}")
        return int(text)

    @property
    def prefect_port(self) -> int:
        """The port of the Prefect UI and API on this machine."""
        return self.port("PREFECT_PORT", 8080)

    @property
    def tls_http_port(self) -> int:
        """The http port, which redirects to https."""
        return self.port("TLS_HTTP_PORT", 80)

    @property
    def mock_port(self) -> int:
        """The port of the mock Yeedu on this machine."""
        return self.port("YEEDU_MOCK_PORT", 8088)

    @property
    def bind_address(self) -> str:
        """The address at which the Prefect UI and API are published, without the brackets of IPv6.

        Raises:
            CommandError: It is not an IP address.
        """
        text = self.get("PREFECT_BIND_ADDRESS", "127.0.0.1").strip("[]")
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise CommandError(f"PREFECT_BIND_ADDRESS={text!r} is not an IP address") from None
        return text

    @property
    def ui_url(self) -> str:
        """The base of links to the UI."""
        default = _ui_url_of(self.other_server) or f"http://localhost:{self.prefect_port}"
        return self.get("PREFECT_UI_URL", default).rstrip("/")

    @property
    def builds_images(self) -> bool:
        """Whether images are rebuilt when their files change; else the existing ones are used.

        Raises:
            CommandError: ``IMAGE_POLICY`` is neither ``build`` nor ``never``.
        """
        policy = self.get("IMAGE_POLICY", "build")
        if policy not in {"build", "never"}:
            raise CommandError(f"IMAGE_POLICY={policy!r}: set it to build or never")
        return policy == "build"

    @property
    def registry(self) -> str:
        """Where images are pulled from, such as ``ghcr.io/team``; empty for images built on this machine.

        Raises:
            CommandError: An image's name cannot begin with it.
        """
        registry = self.get("PLATFORM_REGISTRY")
        if registry and not re.fullmatch(r"[\w.-]+(:\d+)?(/[a-z0-9._-]+)*", registry, re.ASCII):
            raise CommandError(
                f"PLATFORM_REGISTRY={registry!r}: set it to the prefix of image names, as ghcr.io/team"
            )
        return registry

    @property
    def other_server(self) -> str:
        """The API of a server other than the platform's own; empty for the platform's own.

        Raises:
            CommandError: It is not an address.
        """
        url = self.get("PREFECT_API_URL").rstrip("/")
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise CommandError(
                f"PREFECT_API_URL={url!r} is not an address; it looks like https://prefect.example.com/api"
            )
        return url

    @property
    def api_url(self) -> str:
        """The API as this machine reaches it, without a trailing slash."""
        if self.other_server:
            return self.other_server
        host = self.near_address
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.has_tls else 'http'}://{host}:{self.prefect_port}/api"

    @property
    def near_address(self) -> str:
        """The address at which this machine reaches what is published at `bind_address`."""
        address = ipaddress.ip_address(self.bind_address)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
        return str(address)

    @property
    def has_tls(self) -> bool:
        """Whether the platform's own server is published as https, by the proxy in ``proxy/``."""
        return self.has_overlay(TLS_OVERLAY)

    def has_overlay(self, overlay: str) -> bool:
        """Tell whether ``COMPOSE_FILE`` names a file of ``deploy/``."""
        names = re.split(r"[:;,]", self.get("COMPOSE_FILE"))
        return any(name.strip().replace("\\", "/").endswith(overlay) for name in names)

    def path(self, name: str, default: str = "") -> Path | None:
        """Return a setting that is a path, relative to the checkout; ``None`` when it is unset."""
        text = self.get(name, default)
        return ROOT / Path(text).expanduser() if text else None

    def config_dir(self) -> Path:
        """Return the folder of the team's own files; by default the platform's ``deployer/``.

        Raises:
            CommandError: There is no such folder.
        """
        folder = self.path("CONFIG_DIR", "./deployer") or ROOT
        if not folder.is_dir():
            raise CommandError(f"CONFIG_DIR={self.get('CONFIG_DIR')}: there is no such folder")
        return folder

    def own_variables(self) -> dict[str, str]:
        """Return what ``flows.env`` in `config_dir` sets, for the deployer and for flow runs.

        Raises:
            CommandError: A line of it is not ``NAME=value``.
        """
        return read_dotenv(self.config_dir() / "flows.env", self.values)

    def ca_file(self) -> Path | None:
        """Return the file of the user's own CA; by default there is none."""
        return self.path("CA_CERT_FILE") or self.path("YEEDU_SSL_CERT_FILE")  # an older name

    def auth_string(self) -> str:
        """Return the API's login, ``user:password``, or an empty string if it has none.

        Raises:
            CommandError: The file that should hold it cannot be read.
        """
        return self.secret("PREFECT_API_AUTH_STRING")

    def api_key(self) -> str:
        """Return the key of another server's API, or an empty string if it has none.

        Raises:
            CommandError: The file that should hold it cannot be read.
        """
        return self.secret("PREFECT_API_KEY") if self.other_server else ""

    def secret(self, name: str) -> str:
        """Return a secret from the file that ``NAME_FILE`` names, else from ``NAME``; empty without either.

        Raises:
            CommandError: The file cannot be read.
        """
        file = self.path(f"{name}_FILE")
        if not file:
            return self.get(name)
        try:
            return file.read_text(encoding="utf-8").strip() or self.get(name)
        except OSError as error:
            raise CommandError(f"{name}_FILE: {file}: {error.strerror}") from None


def environment_of_commands() -> dict[str, str]:
    """Return this process's environment without the settings of another server, which only ``.env`` may set.

    A login that comes with an address belongs to that server, and must not reach the platform's own.
    """
    hidden = OF_THE_FILE | LOGIN if os.environ.get("PREFECT_API_URL") else OF_THE_FILE
    return {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith(OF_THE_DATABASE)
    }


def _ui_url_of(api_url: str) -> str:
    """Return the UI's address for an API: on the same server, or for Prefect Cloud under another name."""
    url = re.sub(r"^https://api\.(prefect\.\w+)/", r"https://app.\1/", api_url)
    url = re.sub(r"/api(?=/|$)", "", url, count=1)
    return url.replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")
