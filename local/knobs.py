"""The knobs of the platform (``.env.example``), from the environment and ``.env``; the environment wins."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.dotenv import read_dotenv
from local.errors import CommandError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, repr=False)
class Knobs:
    """Every value that the user set, by name. Has no useful ``repr``, since passwords are among them."""

    values: Mapping[str, str]

    @classmethod
    def read(cls, root: Path = ROOT) -> "Knobs":
        """Read ``.env`` beside the compose file, and this process's environment over it."""
        environment = dict(os.environ)
        return cls({**read_dotenv(root / ".env", environment), **environment})

    def get(self, name: str, default: str = "") -> str:
        """Return the value, or the default where it is unset or empty (``${NAME:-default}``)."""
        return self.values.get(name) or default

    def given(self, name: str, default: str = "") -> str:
        """Return the value even when it is empty, or the default where it is unset (``${NAME-default}``)."""
        return self.values.get(name, default)

    def port(self, name: str, default: int) -> int:
        """Return a knob that is a TCP port.

        Raises:
            CommandError: It is not a whole number from 1 to 65535.
        """
        text = self.get(name, str(default))
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise CommandError(f"{name}={text!r} is not a port: set it to a whole number from 1 to 65535")
        return int(text)

    def seconds(self, name: str, default: int) -> int:
        """Return a knob that is a time in whole seconds.

        Raises:
            CommandError: It is not a whole number above 0.
        """
        text = self.get(name, str(default))
        if not text.isdecimal() or not int(text):
            raise CommandError(f"{name}={text!r} is not a time: set it to a whole number of seconds")
        return int(text)

    @property
    def prefect_port(self) -> int:
        """The port of the Prefect UI and API on this machine."""
        return self.port("PREFECT_PORT", 8080)

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
        return self.get("PREFECT_UI_URL", f"http://localhost:{self.prefect_port}").rstrip("/")

    @property
    def api_url(self) -> str:
        """The API as this machine reaches it, without a slash at the end."""
        address = ipaddress.ip_address(self.bind_address)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"http://{host}:{self.prefect_port}/api"

    def path(self, name: str, default: str = "") -> Path | None:
        """Return a knob that names a file or folder, relative to the checkout; ``None`` when it is unset."""
        text = self.get(name, default)
        return ROOT / Path(text).expanduser() if text else None

    def ca_file(self) -> Path | None:
        """Return the file of the user's own CA, of which there is none by default."""
        return self.path("CA_CERT_FILE") or self.path("YEEDU_SSL_CERT_FILE")  # an older name

    def auth_string(self) -> str:
        """Return the login of the API, ``user:password``, or an empty string when it has none.

        Raises:
            CommandError: The file that should hold it cannot be read.
        """
        file = self.path("PREFECT_API_AUTH_STRING_FILE")
        if not file:
            return self.get("PREFECT_API_AUTH_STRING")
        try:
            return file.read_text(encoding="utf-8").strip() or self.get("PREFECT_API_AUTH_STRING")
        except OSError as error:
            raise CommandError(f"PREFECT_API_AUTH_STRING_FILE: {file}: {error.strerror}") from None
