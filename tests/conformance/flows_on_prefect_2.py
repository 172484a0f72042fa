"""Run the published operator in flows of Prefect 2; a script for the operator's own environment.

The command line is a URL to paste per flow run, and at last the file for the report: a list of one object per
flow run, with the final state as the API of Prefect 2 has it. The environment brings `YEEDU_USERNAME`,
`YEEDU_PASSWORD` and, for runs with a token, `YEEDU_TOKEN`.
"""

import json
import os
import sys
from pathlib import Path

from prefect import flow
from prefect.blocks.system import JSON, Secret
from prefect.client.orchestration import get_client

from operators.yeedu import YeeduOperator

CONNECTION = "yeedu-connection-details"
PASSWORD = "yeedu-password"
TOKEN = "yeedu-token"


@flow(name="run-yeedu")
def run_yeedu(url: str, token_block_name: str | None) -> None:
    YeeduOperator(
        job_url=url,
        connection_block_name=CONNECTION,
        login_password_block_name=PASSWORD,
        token_block_name=token_block_name,
    ).execute()


def main() -> None:
    *urls, report = sys.argv[1:]
    details = {
        "username": os.environ["YEEDU_USERNAME"],
        "YEEDU_VERIFY_SSL": "false",
        "YEEDU_SSL_CERT_FILE": "",
    }
    JSON(value=details).save(CONNECTION)
    Secret(value=os.environ["YEEDU_PASSWORD"]).save(PASSWORD)
    token = os.environ.get("YEEDU_TOKEN")
    if token:
        Secret(value=token).save(TOKEN)
    runs = []
    with get_client(sync_client=True) as client:
        for url in urls:
            state = run_yeedu(url, TOKEN if token else None, return_state=True)
            run = client.read_flow_run(state.state_details.flow_run_id)
            runs.append({"url": url, "state": run.state_type.value, "message": run.state.message})
    Path(report).write_text(json.dumps(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
