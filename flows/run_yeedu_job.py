"""Run a Yeedu job, with its output in the run's log."""

import os
import re

from prefect import flow
from prefect.runtime import flow_run

from operators.yeedu import YeeduOperator

# The mock Yeedu as its host sees it; a deployment gives the address that its worker sees.
SAMPLE_JOB_URL = "http://localhost:8088/tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/spark/job/101"


def _run_name() -> str:
    number = re.search(r"/job/(\d+)", str(flow_run.parameters["job_url"]))
    return f"yeedu job {number[1]}" if number else "yeedu job"


@flow(name="run-yeedu-job", flow_run_name=_run_name, log_prints=True)
def run_yeedu_job_flow(
    job_url: str = os.environ.get("YEEDU_JOB_URL") or SAMPLE_JOB_URL,
    connection_block_name: str = "yeedu_connection_details",
    login_password_block_name: str | None = "yeedu_password",  # noqa: S107 - the name of a block
    token_block_name: str | None = None,
) -> dict[str, str | int | None]:
    """Run a Yeedu job, wait for its end, and log what it writes to stdout and stderr.

    Args:
        job_url: The job's address, as in Yeedu's UI, with the port of Yeedu's REST API.
        connection_block_name: The Secret block with the user name and the TLS settings, as JSON; for single
            sign-on (SSO) also with the name of the token's block, under the key token_block_name.
        login_password_block_name: The Secret block with the password, for LDAP and Azure AD; not used if
            there is a token.
        token_block_name: The Secret block with a token, for SSO; empty for the one that the connection
            details name, if any.

    Returns:
        The Yeedu run's id, final state and page in Yeedu's UI.

    Raises:
        YeeduError: The address or the credentials are wrong, Yeedu cannot be reached, or the job failed.
    """
    operator = YeeduOperator(
        job_url=job_url,
        connection_block_name=connection_block_name,
        login_password_block_name=login_password_block_name,
        token_block_name=token_block_name,
    )
    result = operator.execute()
    return {"run_id": result.run_id, "state": result.state, "url": result.url}


if __name__ == "__main__":
    run_yeedu_job_flow()
