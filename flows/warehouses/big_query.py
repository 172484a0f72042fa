"""Loads into BigQuery, by a GCP Credentials block: a load job into a temporary table, then one MERGE.

A load job cannot take part in a transaction, but MERGE is a single statement, so it happens as a whole or not
at all: the key's existing rows are deleted, and those of the loaded table inserted. BigQuery runs such
statements on one table one after another.
"""

import io
import tempfile
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import requests

from blocks import need
from warehouse import WarehouseError, WarehouseUnreachableError
from warehouses.tables import Key, Kind, Replaced, Row, Table, require_all, write_csv

RETRY_SECONDS = 60
REASON_LETTERS = 500
LOADED_TABLE_HOURS = 24  # it is deleted after use, unless the process dies
TYPES: dict[Kind, tuple[str, dict[str, int]]] = {
    Kind.TEXT: ("STRING", {}),
    Kind.SMALL_INTEGER: ("INTEGER", {}),
    Kind.AMOUNT: ("NUMERIC", {"precision": 9, "scale": 2}),
    Kind.TIME: ("DATETIME", {}),
}


class BigQueryWarehouse:
    """A data set in BigQuery.

    Args:
        credentials: The GCP Credentials block, whose project the data set belongs to.
        dataset: The data set's name; it has to exist.
    """

    def __init__(self, credentials: Any, dataset: str) -> None:
        self._credentials = credentials
        self._dataset = dataset
        self._place = f"The data set {dataset} in BigQuery"
        self._bigquery: Any = need("google.cloud.bigquery", "A warehouse in BigQuery")

    def replace(self, table: Table, key: Key, rows: Iterable[Row]) -> Replaced:
        """Replace the rows of a key by others; see `Warehouse`."""
        with self._errors(), self._credentials.get_bigquery_client() as client:
            self._require_dataset(client)
            target = self._make(client, table, table.name, clustering_fields=[c.name for c in table.key])
            expires = datetime.now(UTC) + timedelta(hours=LOADED_TABLE_HOURS)
            loaded = self._make(client, table, f"{table.name}_{uuid.uuid4().hex}", expires=expires)
            try:
                given = self._load(client, loaded, table, rows)
                changed = self._ask(client, _merge(table, target, loaded), table, key).num_dml_affected_rows
                counting = f"SELECT count(*) FROM `{target}` WHERE {_of_key(table)}"  # noqa: S608 - constants
                [[counted]] = self._ask(client, counting, table, key).result()
            finally:
                client.delete_table(loaded, not_found_ok=True, retry=self._retry())
        return Replaced(counted, changed - given)

    def _require_dataset(self, client: Any) -> None:
        name = f"{client.project}.{self._dataset}"
        try:
            client.get_dataset(name, retry=self._retry())
        except self._google().NotFound:
            raise WarehouseError(
                f"BigQuery has no data set {name}; make it where your data are to be: "
                f"bq mk --dataset --location=LOCATION {client.project}:{self._dataset}"
            ) from None

    def _make(self, client: Any, table: Table, name: str, **properties: Any) -> Any:
        """Create a table with these columns unless it exists; return a reference to it."""
        made = self._bigquery.Table(f"{client.project}.{self._dataset}.{name}", schema=self._schema(table))
        for each, value in properties.items():
            setattr(made, each, value)
        client.create_table(made, exists_ok=True, retry=self._retry())
        return made.reference

    def _schema(self, table: Table) -> list[Any]:
        return [
            self._bigquery.SchemaField(
                column.name,
                TYPES[column.kind][0],
                mode="REQUIRED" if column.is_required else "NULLABLE",
                **TYPES[column.kind][1],
            )
            for column in table.columns
        ]

    def _load(self, client: Any, into: Any, table: Table, rows: Iterable[Row]) -> int:
        configuration = self._bigquery.LoadJobConfig(
            source_format=self._bigquery.SourceFormat.CSV,
            skip_leading_rows=1,
            schema=self._schema(table),
            create_disposition=self._bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=self._bigquery.WriteDisposition.WRITE_EMPTY,
        )
        with tempfile.TemporaryFile("w+b") as file:
            given = _write(file, table, rows)
            job = client.load_table_from_file(file, into, rewind=True, job_config=configuration)
            try:
                require_all(given, job.result().output_rows)
            except self._google().ClientError as error:
                reasons = [each.get("message", "") for each in job.errors or [{"message": str(error)}]]
                raise WarehouseError(f"{self._place} refused: {_in_one_line(reasons[-1])}.") from None
        return given

    def _ask(self, client: Any, statement: str, table: Table, key: Key) -> Any:
        """Run a statement on the rows of a key to its end, and return the job."""
        types = {str: "STRING", int: "INT64"}
        parameters = [
            self._bigquery.ScalarQueryParameter(column.name, types[type(value)], value)
            for column, value in zip(table.key, key, strict=True)
        ]
        configuration = self._bigquery.QueryJobConfig(query_parameters=parameters)
        job = client.query(statement, job_config=configuration, retry=self._retry())
        job.result()
        return job

    def _google(self) -> Any:
        """Return the module with the errors of Google's APIs."""
        return need("google.api_core.exceptions", "A warehouse in BigQuery")

    def _retry(self) -> Any:
        return self._bigquery.DEFAULT_RETRY.with_timeout(RETRY_SECONDS)

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        """Turn Google's errors into `WarehouseError`s of one line."""
        api = self._google()
        auth: Any = need("google.auth.exceptions", "A warehouse in BigQuery")
        try:
            yield
        except (
            *(api.RetryError, api.ServerError, api.TooManyRequests, auth.TransportError),
            requests.ConnectionError,
        ) as error:
            raise WarehouseUnreachableError(
                f"{self._place} cannot be used now: {_in_one_line(error)}."
            ) from None
        except (api.GoogleAPIError, auth.GoogleAuthError) as error:
            raise WarehouseError(f"{self._place} refused: {_in_one_line(error)}.") from None


def _write(file: IO[bytes], table: Table, rows: Iterable[Row]) -> int:
    """Write a heading and the rows; return the number of rows."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    write_csv(text, [[column.name for column in table.columns]])
    given = write_csv(text, rows)
    text.flush()
    text.detach()  # which leaves the file open
    return given


def _of_key(table: Table, alias: str = "") -> str:
    return " AND ".join(f"{alias}{column.name} = @{column.name}" for column in table.key)


def _merge(table: Table, target: Any, loaded: Any) -> str:
    """Return the statement, in which nothing matches: the key's old rows go, and the loaded ones come."""
    columns = ", ".join(column.name for column in table.columns)
    return (
        f"MERGE `{target}` AS kept USING `{loaded}` AS loaded ON FALSE "  # noqa: S608 - constants
        f"WHEN NOT MATCHED BY SOURCE AND {_of_key(table, 'kept.')} THEN DELETE "
        f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({columns})"
    )


def _in_one_line(error: Exception | str) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= REASON_LETTERS else f"{text[:REASON_LETTERS]}..."
