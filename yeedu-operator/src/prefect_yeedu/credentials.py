"""The credentials block: Yeedu's address, the login, and the TLS settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.connection import Access
from prefect_yeedu.flow_run.run_logging import find_logger
from prefect_yeedu.urls import parse_host, parse_url

if TYPE_CHECKING:
    from typing import Any

DOCUMENTATION_URL = HttpUrl("https://github.com/YOUR_TEAM/yeedu-prefect/blob/main/docs/yeedu.md")
LOGO_URL = HttpUrl("https://github.com/yeedu-io.png?size=200")  # GitHub's square of that many pixels

NO_LOGIN = (
    "The YeeduCredentials block holds neither a token nor both a username and a password; "
    "fill in one or the other."
)


class YeeduCredentials(CredentialsBlock):
    """The Yeedu to call, and the login: a user name with a password, or a token.

    Attributes:
        host: Base URL of Yeedu's REST API; lets jobs be given by id or name instead of by address.
        tenant: The tenant's id, as in Yeedu's own addresses.
        username: The user who logs in; not needed with a token.
        password: The user's password; not needed with a token.
        token: A personal token or one from single sign-on, used instead of a password.
        verify_ssl: Whether the server's TLS certificate is checked.
        ssl_cert_file: PEM file on the worker with certificates to trust instead of the system's.

    Raises:
        YeeduConfigurationError: A field cannot be used, or a required one is missing.

    Example:
        Load stored credentials and ask whether Yeedu is healthy:
        ```python
        from prefect_yeedu import YeeduCredentials

        credentials = YeeduCredentials.load("BLOCK_NAME")
        with credentials.get_client() as client:
            client.check_health()
        ```
    """

    _block_type_name = "Yeedu Credentials"
    _block_type_slug = "yeedu-credentials"
    _documentation_url = DOCUMENTATION_URL
    _logo_url = LOGO_URL

    model_config = ConfigDict(hide_input_in_errors=True)

    host: str | None = Field(
        default=None,
        description="Base URL of Yeedu's REST API, such as https://yeedu.example:8080; needed unless "
        "jobs are given by their whole address.",
    )
    tenant: str | None = Field(
        default=None, description="The tenant's id, as in Yeedu's own addresses after /tenant/."
    )
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.host:
            parse_host(self.host)
        if bool(self.host) != bool(self.tenant):
            missing, given = ("tenant", "host") if self.host else ("host", "tenant")
            raise YeeduConfigurationError(
                f"The YeeduCredentials block has a {given} but no {missing}; fill in both, or neither and "
                "give whole addresses."
            )
        if self.ssl_cert_file and not self.verify_ssl:
            find_logger().warning(
                "The YeeduCredentials block names an ssl_cert_file, but verify_ssl is false, so that it is "
                "not used; clear one of the two."
            )
        if not self._can_log_in():
            if "block_type_slug" not in (self.model_extra or {}):
                raise YeeduConfigurationError(NO_LOGIN)
            find_logger().warning(NO_LOGIN)  # saved before blocks were checked
        return self

    def _can_log_in(self) -> bool:
        return bool(_secret(self.token) or (self.username and _secret(self.password)))

    def get_client(self, url: str | None = None, **options: Any) -> YeeduClient:
        """Return a client for this Yeedu; closing it logs out.

        Args:
            url: Any Yeedu address, such as a job's, to use instead of the block's host and tenant.
            options: Passed on to `YeeduClient`.

        Raises:
            YeeduConfigurationError: The address or a field of this block cannot be used.
        """
        access = self.access()
        return YeeduClient(access.to(parse_url(url)) if url else self.connection(access), **options)

    def connection(self, access: Access | None = None) -> Connection:
        """Return the connection to the block's host and tenant.

        Raises:
            YeeduConfigurationError: The block has no host and tenant, or a field cannot be used.
        """
        if not self.host or not self.tenant:
            raise YeeduConfigurationError(
                "The YeeduCredentials block has no host and tenant; fill them in, or give a whole address "
                "such as https://yeedu.example:8080/tenant/TENANT/workspace/1/spark/job/5."
            )
        access = access or self.access()
        return Connection(parse_host(self.host), self.tenant.strip(), access.credentials, access.tls)

    def access(self) -> Access:
        """Return the login and TLS settings as the lower layers take them.

        Raises:
            YeeduConfigurationError: A field cannot be used.
        """
        if not self._can_log_in():
            raise YeeduConfigurationError(NO_LOGIN)
        credentials = Credentials(
            username=self.username,
            password=_secret(self.password),
            token=_secret(self.token),
            kept_in="the field 'token' of the YeeduCredentials block",
            login_kept_in="the fields 'username' and 'password' of the YeeduCredentials block",
        )
        note = "Logging in to Yeedu with the YeeduCredentials block's token, not with its password."
        return Access(
            credentials,
            TLSSettings.from_options(self.verify_ssl, self.ssl_cert_file),
            note if credentials.token and credentials.password else "",
            (("credentials_block", self._block_document_name or ""),),
        )


def _secret(value: SecretStr | None) -> str | None:
    return (value.get_secret_value() or None) if value is not None else None
