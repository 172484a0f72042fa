"""The blocks that the platform's users have."""

import json

from mock_yeedu import MockYeedu
from prefect.blocks.system import Secret

from prefect_yeedu import YeeduCredentials


def save_blocks(mock: MockYeedu) -> None:
    """Save the blocks of the published guide, and some that are wrong."""
    details = {"username": "demo", "YEEDU_VERIFY_SSL": "true", "YEEDU_SSL_CERT_FILE": ""}
    Secret(value=details).save("yeedu-connection-details", overwrite=True)
    Secret(value=json.dumps(details)).save("details-as-text", overwrite=True)
    Secret(value=mock.password).save("yeedu-password", overwrite=True)
    Secret(value="wrong").save("wrong-password", overwrite=True)
    Secret(value={"no": "text"}).save("not-a-password", overwrite=True)


def credentials(mock: MockYeedu) -> YeeduCredentials:
    """Return a block of the mock's user."""
    return YeeduCredentials(username="demo", password=mock.password)  # pyright: ignore[reportArgumentType]
