"""Every kind of warehouse: the rows of a month are replaced, all or none, and counted."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from sqlalchemy.engine import make_url

from blocks import MissingPackageError, need
from flows.conftest import PROJECT, WAREHOUSE_PASSWORD
from load_taxi_trips import TABLE
from taxi_trips import Month, clean_rows, make_sample
from tests.blocks import save_block
from tests.google_account import service_account
from warehouse import WarehouseError, WarehouseUnreachableError, open_warehouse
from warehouses import find_warehouse
from warehouses.tables import RowsLostError, require_all

JANUARY = Month("green", 2020, 1)
COUNTS = "SELECT month, count(*) FROM {table} GROUP BY month ORDER BY month"
Rows = list[list[str]]


@dataclass
class Store:
    """A warehouse under test: the block that opens it, its table's name, and how its operator asks it."""

    block: str
    table: str
    ask: Callable[[str], list[tuple[Any, ...]]]
    kind: str

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self.ask(statement.format(table=self.table))


def _sql(url: sqlalchemy.URL) -> Callable[[str], list[tuple[Any, ...]]]:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sqlalchemy.text(statement))]
        finally:
            engine.dispose()

    return ask


def _postgres(request: pytest.FixtureRequest) -> Store:
    request.getfixturevalue("query")
    url = make_url(request.getfixturevalue("warehouse_url")).set(password=WAREHOUSE_PASSWORD)
    return Store("secret/warehouse", "taxi_trips", _sql(url), "postgres")


def _connected_postgres(request: pytest.FixtureRequest) -> Store:
    request.getfixturevalue("query")
    url = make_url(request.getfixturevalue("warehouse_url")).set(password=WAREHOUSE_PASSWORD)
    components = {
        "driver": "postgresql+psycopg2",
        "username": url.username,
        "password": WAREHOUSE_PASSWORD,
        "host": url.host,
        "port": url.port,
        "database": url.database,
    }
    save_block("sqlalchemy-connector", "postgres-connector", connection_info=components)
    return Store("sqlalchemy-connector/postgres-connector", "taxi_trips", _sql(url), "connected postgres")


def _sqlite(request: pytest.FixtureRequest) -> Store:
    request.getfixturevalue("prefect_server")
    file = request.getfixturevalue("tmp_path") / "warehouse.db"
    save_block("sqlalchemy-connector", "sqlite", connection_info=f"sqlite:///{file}")
    return Store("sqlalchemy-connector/sqlite", "taxi_trips", _sql(make_url(f"sqlite:///{file}")), "sqlite")


def _bigquery(request: pytest.FixtureRequest) -> Store:
    key = request.getfixturevalue("google")
    client = save_block("gcp-credentials", "bigquery", service_account_info=key).get_bigquery_client()
    client.delete_dataset("taxi_data", delete_contents=True, not_found_ok=True)
    client.create_dataset("taxi_data")

    def ask(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in client.query(statement).result()]

    return Store("gcp-credentials/bigquery/taxi_data", "taxi_data.taxi_trips", ask, "bigquery")


@pytest.fixture(params=[_postgres, _connected_postgres, _sqlite, _bigquery])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    return request.param(request)


def rows_of(month: Month, content: bytes | None = None) -> Rows:
    key = [month.colour, str(month.year), str(month.month)]
    return [[*key, *fields] for fields in clean_rows(content or make_sample(month), month)]


def load(store: Store, month: Month, rows: Rows) -> tuple[int, int]:
    return find_warehouse(store.block).replace(TABLE, (month.colour, month.year, month.month), rows)


def test_rows_of_a_month_are_replaced_and_others_stay(store: Store) -> None:
    january, february = rows_of(JANUARY), rows_of(Month("green", 2020, 2))
    assert load(store, JANUARY, january) == (len(january), 0)
    assert load(store, Month("green", 2020, 2), february) == (len(february), 0)
    assert load(store, JANUARY, january[:-7]) == (len(january) - 7, len(january))
    assert store.query(COUNTS) == [(1, len(january) - 7), (2, len(february))]
    [(total,)] = store.query("SELECT sum(total) FROM {table} WHERE month = 2")
    assert float(total) == pytest.approx(sum(float(row[-1]) for row in february))
    [(first,)] = store.query("SELECT min(pickup_at) FROM {table} WHERE month = 1")
    assert str(first).startswith(min(row[3] for row in january[:-7]))
    assert load(store, JANUARY, []) == (0, len(january) - 7)
    assert store.query(COUNTS) == [(2, len(february))]


def test_a_row_that_is_refused_changes_nothing(store: Store) -> None:
    rows = rows_of(JANUARY)
    load(store, JANUARY, rows)
    broken = [*rows[:-1], [*rows[-1][:5], "many", *rows[-1][6:]]]
    with pytest.raises(WarehouseError, match="many") as caught:
        load(store, JANUARY, broken)
    assert "\n" not in str(caught.value)
    assert store.query(COUNTS) == [(1, len(rows))]


def test_a_missing_value_is_null_only_where_it_may_be(store: Store) -> None:
    row = rows_of(JANUARY)[0]
    load(store, JANUARY, [[*row[:7], "", "", *row[9:]]])
    assert store.query("SELECT pickup_zone, dropoff_zone FROM {table}") == [(None, None)]
    if store.kind != "bigquery":  # whose emulator takes NULL everywhere
        with pytest.raises(WarehouseError, match="pickup_at"):
            load(store, JANUARY, [[*row[:3], "", *row[4:]]])
    assert store.query("SELECT count(*) FROM {table}") == [(1,)]


# In BigQuery this is the service's own promise, of which the emulator knows nothing.
@pytest.mark.parametrize("store", [_postgres, _connected_postgres, _sqlite], indirect=True)
def test_two_loads_of_a_month_at_the_same_time_leave_one(store: Store) -> None:
    rows = rows_of(JANUARY)
    load(store, JANUARY, rows[:5])

    def attempt(number: int) -> bool:
        try:
            return load(store, JANUARY, rows[number:]).rows == len(rows) - number  # type: ignore[attr-defined]
        except WarehouseUnreachableError:
            return False  # refused, and worth another try

    with ThreadPoolExecutor(4) as pool:
        succeeded = list(pool.map(attempt, range(4)))
    assert any(succeeded)
    [(count,)] = store.query("SELECT count(*) FROM {table}")
    assert count in [len(rows) - number for number, done in enumerate(succeeded) if done]


def test_only_the_table_itself_is_left_in_bigquery(request: pytest.FixtureRequest) -> None:
    store = _bigquery(request)
    load(store, JANUARY, rows_of(JANUARY))
    with pytest.raises(WarehouseError):
        load(store, JANUARY, [["many"] * 14])
    credentials: Any = Block.load("gcp-credentials/bigquery")
    client = credentials.get_bigquery_client()
    [table] = client.list_tables("taxi_data")
    assert table.table_id == "taxi_trips"
    schema = {field.name: (field.field_type, field.mode) for field in client.get_table(table).schema}
    assert schema["pickup_at"] == ("DATETIME", "REQUIRED")
    assert schema["fare"] == ("NUMERIC", "REQUIRED")
    assert schema["payment_type"] == ("INTEGER", "NULLABLE")


def test_bigquery_is_told_to_delete_what_a_crash_leaves_within_a_day(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _bigquery(request)
    client: Any = need("google.cloud.bigquery", "This test").Client
    create = client.create_table
    expires: dict[str, Any] = {}

    def noted(of: Any, table: Any, **options: Any) -> Any:
        expires[table.table_id] = table.expires
        return create(of, table, **options)

    monkeypatch.setattr(client, "create_table", noted)
    load(store, JANUARY, rows_of(JANUARY))
    assert expires.pop("taxi_trips") is None
    [when] = expires.values()
    assert timedelta(hours=23) < when - datetime.now(UTC) < timedelta(hours=24)


def test_a_connector_gives_a_connection_as_documented(request: pytest.FixtureRequest) -> None:
    _sqlite(request)
    connector: Any = Block.load("sqlalchemy-connector/sqlite")
    with connector.get_connection(begin=False) as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1


def test_rows_that_got_lost_are_counted() -> None:
    with pytest.raises(RowsLostError, match=r"Of 3 rows, 3 and then 2 arrived in the warehouse; nothing"):
        require_all(3, 3, 2)


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("warehouse", "'warehouse' names no warehouse; give 'secret/NAME' for Postgres"),
        ("gcp-credentials/bigquery", "'gcp-credentials/bigquery' names no warehouse; give"),
        ("s3-bucket/lake", "'s3-bucket/lake' names no warehouse; give"),
        (
            "sqlalchemy-connector/none",
            "The block 'sqlalchemy-connector/none' cannot be loaded: Unable to find",
        ),
        ("gcp_credentials/bigquery/no_such", f"BigQuery has no data set {PROJECT}.no_such; make it"),
        ("sqlalchemy-connector/off", "cannot be used now: connection to server at .* failed"),
    ],
)
def test_a_warehouse_that_is_not_there_is_one_sentence(
    google: dict[str, str], block: str, sentence: str
) -> None:
    save_block("gcp-credentials", "bigquery", service_account_info=google)
    url = "postgresql+psycopg2://me:planted@127.0.0.1:1/off"
    save_block("sqlalchemy-connector", "off", connection_info=url)
    with pytest.raises(WarehouseError, match=sentence) as caught:
        find_warehouse(block).replace(TABLE, ("green", 2020, 1), rows_of(JANUARY))
    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_key_that_google_does_not_take_is_one_sentence(google: dict[str, str]) -> None:
    with service_account(PROJECT) as stranger:
        key = {**stranger, "token_uri": google["token_uri"]}
    save_block("gcp-credentials", "stranger", service_account_info=key)
    with pytest.raises(WarehouseError, match=r"taxi_data in BigQuery refused: .*invalid_grant") as caught:
        find_warehouse("gcp-credentials/stranger/taxi_data").replace(TABLE, ("green", 2020, 1), [])
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "block"),
    [
        ("prefect_gcp", "gcp-credentials/bigquery/taxi_data"),
        ("prefect_sqlalchemy", "sqlalchemy-connector/sqlite"),
    ],
)
def test_a_package_that_the_worker_lacks_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, module: str, block: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    package = module.replace("_", "-")
    with pytest.raises(MissingPackageError, match=rf"needs {package}: set WORKER_EXTRAS=etl, see docs/pack"):
        find_warehouse(block)


def test_a_connection_that_is_lost_in_a_transaction_is_worth_another_try(
    request: pytest.FixtureRequest,
) -> None:
    _postgres(request)
    with (
        pytest.raises(WarehouseUnreachableError, match="was lost"),
        open_warehouse() as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_secret_blocks_keep_their_names_with_underscores(prefect_server: str) -> None:
    Secret.model_validate({"value": {"url": "postgresql://me@127.0.0.1:1/x"}}).save("my-db", overwrite=True)
    with pytest.raises(WarehouseUnreachableError, match=r"at 127\.0\.0\.1:1/x cannot be opened"):
        find_warehouse("secret/my_db").replace(TABLE, ("green", 2020, 1), [])
