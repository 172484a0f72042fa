"""Results in a bucket: what one worker computed another one reads, and no process is told the keys."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import s3_server
from tests.prefect_process import PrefectProcess

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

KEY = "canary-of-the-bucket"
SET_UP = f"""
import sys
from prefect_aws import AwsCredentials
from prefect_aws.s3 import S3Bucket
credentials = AwsCredentials(
    aws_access_key_id="me",
    aws_secret_access_key="{KEY}",
    region_name="us-east-1",
    aws_client_parameters={{"endpoint_url": sys.argv[1]}},
)
credentials.get_s3_client().create_bucket(Bucket="results")
credentials.save("results")
S3Bucket(bucket_name="results", bucket_folder="prefect", credentials=credentials).save("results")
"""
RUN = """
import json
from prefect import flow, task
from prefect.cache_policies import INPUTS

@task(cache_policy=INPUTS, persist_result=True)
def square(number):
    return number * number

@flow(persist_result=True)
def squares():
    state = square(7, return_state=True)
    return [state.name, state.result()]

state = squares(return_state=True)
print(json.dumps([str(state.state_details.flow_run_id), state.result()]))
"""
READ = """
import sys
from uuid import UUID
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.read_flow_run(UUID(sys.argv[1])).state.result())
"""
LIST = """
import json
from prefect_aws import AwsCredentials
client = AwsCredentials.load("results").get_s3_client()
print(json.dumps([one["Key"] for one in client.list_objects_v2(Bucket="results").get("Contents", [])]))
"""


class Worker:
    """What a worker of its own is to flows: a home of its own, and the server's address."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = {
            **inherited,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": url,
            "PREFECT_LOGGING_LEVEL": "WARNING",
        }

    def run(self, *arguments: str) -> str:
        """Run Python with some arguments, and return what that prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert not done.returncode, done.stderr
        assert KEY not in done.stdout + done.stderr
        return done.stdout.strip()

    def kept(self) -> list[Path]:
        """Return the results that are on its own disk."""
        return list((self.home / "storage").rglob("*"))


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Two workers of a server, with the blocks that docs/flows.md says."""
    (home := tmp_path / "server").mkdir()
    with s3_server(tmp_path) as address, PrefectProcess(home) as server:
        first, second = (Worker(tmp_path / name, server.url) for name in ("first", "second"))
        first.run("-c", SET_UP, address)
        yield [first, second]


def test_every_worker_reads_every_result(workers: list[Worker]) -> None:
    first, second = workers
    first.run("-m", *["prefect", "experimental", "result-storage", "set", "s3-bucket/results"])
    run: Any = json.loads(first.run("-c", RUN))
    assert run[1] == ["Completed", 49]
    assert second.run("-c", READ, run[0]) == "['Completed', 49]"
    again: Any = json.loads(second.run("-c", RUN))
    assert again[1] == ["Cached", 49], "what the first one computed"
    assert first.kept() == second.kept() == []
    found: list[str] = json.loads(first.run("-c", LIST))
    assert len(found) >= 3
    assert {one.split("/")[0] for one in found} == {"prefect"}

    # Importing it is a ModuleNotFoundError then.
    without = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['prefect_aws'] = None\n{RUN}"],
        env=second.environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert without.returncode
    assert "Please ensure that `prefect-aws` is installed" in without.stderr.splitlines()[-1]
