"""TLS verification: against the system's certificates, against a CA file, or off."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from prefect_yeedu.errors import YeeduConfigurationError


@dataclass(frozen=True)
class TLSSettings:
    """How the certificates of an https address are checked.

    Attributes:
        verify: Whether they are checked at all.
        ca_file: Certificates to trust instead of the system's.
    """

    verify: bool = True
    ca_file: str | None = None

    @classmethod
    def from_options(cls, verify: object, ca_file: object) -> TLSSettings:
        """Return the settings that the connection details ask for.

        Args:
            verify: `true` (also if absent or empty) or `false`, as a word in any case or as a boolean.
            ca_file: Path of a PEM file of certificates; empty for the system's own.

        Raises:
            YeeduConfigurationError: A value is invalid, or the file does not exist.
        """
        word = str("true" if verify in (None, "") else verify).strip().lower()
        if word not in {"true", "false"}:
            raise YeeduConfigurationError(
                f"YEEDU_VERIFY_SSL is '{word}', but only true and false are possible; "
                "correct the connection details."
            )
        path = str(ca_file or "").strip() or None
        if word == "false":
            return cls(verify=False)
        if path is not None and not Path(path).is_file():
            raise YeeduConfigurationError(
                f"YEEDU_SSL_CERT_FILE names '{path}', which is not a file on this machine; "
                "put the CA's certificate there or correct the connection details."
            )
        return cls(verify=True, ca_file=path)

    def context(self) -> ssl.SSLContext:
        """Return a new context that REST calls and websockets can share.

        Raises:
            YeeduConfigurationError: The file holds no certificates.
        """
        if not self.verify:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (ssl.SSLError, OSError) as error:
            reason = type(error).__name__
        raise YeeduConfigurationError(
            f"YEEDU_SSL_CERT_FILE '{self.ca_file}' cannot be read as PEM certificates ({reason})."
        )
