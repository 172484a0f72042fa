"""Check that Yeedu is well."""

import os
from typing import Any

from prefect import flow

from operators.yeedu import YeeduOperator

# The mock Yeedu as its host sees it; a deployment gives the address that its worker sees.
SAMPLE_HEALTH_URL = "http://localhost:8088/healthCheck"


@flow(name="check-yeedu-health", flow_run_name="yeedu health check", log_prints=True)
def check_yeedu_health(
    health_url: str = os.environ.get("YEEDU_HEALTH_URL") or SAMPLE_HEALTH_URL,
    connection_block_name: str = "yeedu_connection_details",
    login_password_block_name: str | None = "yeedu_password",  # noqa: S107 - the name of a block
    token_block_name: str | None = None,
) -> dict[str, Any]:
    """Check that Yeedu is well, and log what it says about itself; this needs no login.

    Args:
        health_url: The address of Yeedu's health check: that of its REST API, with the path /healthCheck.
        connection_block_name: The Secret block with the TLS settings, as JSON.
        login_password_block_name: Not used; exists only because the other Yeedu flows have it.
        token_block_name: Likewise.

    Returns:
        What Yeedu says about itself.

    Raises:
        YeeduError: The address is wrong, Yeedu cannot be reached, or it is not well.
    """
    operator = YeeduOperator(
        job_url=health_url,
        connection_block_name=connection_block_name,
        login_password_block_name=login_password_block_name,
        token_block_name=token_block_name,
    )
    result = operator.execute()
    for name, value in result.details.items():
        print(f"{name}: {value}")
    return result.details


if __name__ == "__main__":
    check_yeedu_health()
