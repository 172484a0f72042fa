"""A connection: Yeedu's address, the tenant, the credentials, and the TLS settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefect_yeedu.client.tls import TLSSettings

if TYPE_CHECKING:
    from prefect_yeedu.client.login import Credentials
    from prefect_yeedu.urls import YeeduURL


@dataclass(frozen=True)
class Connection:
    """Everything that a session with Yeedu needs; equal connections share a session.

    Attributes:
        base_url: Base of the REST API, such as `https://yeedu.example:8080/api/v1`.
        tenant: The tenant that the session selects; empty if only the health check is called.
        credentials: The login; None if only the health check is called.
        tls: How certificates are checked.
    """

    base_url: str
    tenant: str = ""
    credentials: Credentials | None = None
    tls: TLSSettings = field(default_factory=TLSSettings)

    @classmethod
    def to(
        cls, url: YeeduURL, credentials: Credentials | None = None, tls: TLSSettings | None = None
    ) -> Connection:
        """Return the connection to the Yeedu that an address names."""
        return cls(url.base_url, url.tenant, credentials, tls or TLSSettings())

    @property
    def origin(self) -> str:
        """The server, without the path of its API."""
        return self.base_url.removesuffix("/api/v1")
