"""The block that holds who connects to Yeedu, and whom they trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.flow_run.connection import Access
from prefect_yeedu.urls import parse_url

if TYPE_CHECKING:
    from typing import Any

DOCUMENTATION_URL = HttpUrl("https://docs.yeedu.io/")


class YeeduCredentials(CredentialsBlock):
    """Who connects to Yeedu: a user name with a password, or a token.

    Attributes:
        username: Who logs in; not needed with a token.
        password: With which password; not needed with a token.
        token: A token from single sign-on or a personal one; it goes before the password.
        verify_ssl: Whether the server's TLS certificate is checked.
        ssl_cert_file: Certificates to trust instead of the system's, a PEM file on the worker.

    Example:
        Load stored credentials and ask whether Yeedu is healthy:
        ```python
        from prefect_yeedu import YeeduCredentials

        credentials = YeeduCredentials.load("BLOCK_NAME")
        with credentials.get_client("https://yeedu.example:8080/healthCheck") as client:
            client.check_health()
        ```
    """

    _block_type_name = "Yeedu Credentials"
    _block_type_slug = "yeedu-credentials"
    _documentation_url = DOCUMENTATION_URL

    username: str | None = Field(default=None, description="Who logs in; not needed with a token.")
    password: SecretStr | None = Field(
        default=None, description="The user's password; not needed with a token."
    )
    token: SecretStr | None = Field(
        default=None, description="A token from single sign-on or a personal one, used instead of a password."
    )
    verify_ssl: bool = Field(
        default=True, title="Verify TLS", description="Whether the server's TLS certificate is checked."
    )
    ssl_cert_file: str | None = Field(
        default=None,
        title="CA file",
        description="Certificates to trust instead of the system's, a PEM file on the worker.",
    )

    def get_client(self, url: str, **options: Any) -> YeeduClient:
        """Return a client for the Yeedu at an address; closing it logs out.

        Args:
            url: Any address of that Yeedu, such as a job's; its tenant is selected.
            options: Passed on to `YeeduClient`.

        Raises:
            YeeduConfigurationError: The address or a field of this block cannot be used.
        """
        return YeeduClient(self.access().to(parse_url(url)), **options)

    def access(self) -> Access:
        """Return what the layers below work with.

        Raises:
            YeeduConfigurationError: A field cannot be used.
        """
        credentials = Credentials(
            username=self.username,
            password=self.password.get_secret_value() if self.password else None,
            token=self.token.get_secret_value() if self.token else None,
            kept_in="the field 'token' of the YeeduCredentials block",
        )
        note = "Logging in to Yeedu with the YeeduCredentials block's token, not with its password."
        return Access(
            credentials,
            TLSSettings.from_options(self.verify_ssl, self.ssl_cert_file),
            note if credentials.token and credentials.password else "",
            (("credentials_block", self._block_document_name or ""),),
        )
