"""Secret blocks on the server, read and written as raw values."""

from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.server import explained


def read_secret(client: SyncPrefectClient, name: str) -> object | None:
    """Read the raw value of a Secret block, or None when there is no such block.

    `Secret.get` would turn a password of digits into a number.
    """
    with explained(f"The Secret block {name!r} could not be read", quote_answer=False):
        try:
            document = client.read_block_document_by_name(name, "secret", include_secrets=True)
        except ObjectNotFound:
            return None
    return document.data.get("value")


def write_secret(name: str, value: object) -> None:
    """Create or replace a Secret block.

    Raises:
        ServerError: The server refused it; the sentence never holds the value.
    """
    with explained(f"The Secret block {name!r} could not be written", quote_answer=False):
        Secret.model_validate({"value": value}).save(name, overwrite=True)
