"""Fetches monthly files of New York's taxi trips, or makes samples of them, and cleans their rows."""

import csv
import gzip
import io
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any, Literal

import requests

from blocks import need

Colour = Literal["green", "yellow"]
SampleFormat = Literal["csv", "parquet"]

# As in the city's columns: yellow taxis' times are the TPEP's, green ones' the LPEP's.
PREFIXES: dict[str, str] = {"green": "lpep", "yellow": "tpep"}
COLUMNS = (
    *("pickup_at", "dropoff_at", "passengers", "distance_miles", "pickup_zone", "dropoff_zone"),
    *("payment_type", "fare", "tip", "tolls", "total"),
)
WHOLE_NUMBERS = tuple(map(COLUMNS.index, ("passengers", "pickup_zone", "dropoff_zone", "payment_type")))
SAMPLE_ROWS = 1_000
BATCH_ROWS = 65_536  # the rows of a Parquet file in memory at a time
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"  # the first bytes of such files
DOWNLOAD_SECONDS = (10, 120)  # to connect, and between two pieces of the file
ZONES = 263
MINUTES_OF_28_DAYS = 28 * 24 * 60


class TaxiDataError(RuntimeError):
    """A file cannot be fetched, or does not hold the trips that it should; the message says why."""


@dataclass(frozen=True)
class Month:
    """One colour's trips of one month."""

    colour: Colour
    year: int
    month: int

    def file_name(self, content: bytes) -> str:
        """Return the name of its file, as published; the content decides the extension."""
        ending = {PARQUET: "parquet", GZIP: "csv.gz"}
        kind = next((name for start, name in ending.items() if content.startswith(start)), "csv")
        return f"{self.colour}_tripdata_{self.year}-{self.month:02}.{kind}"

    @property
    def headings(self) -> tuple[str, ...]:
        """The published names of the columns that are kept, in the order of `COLUMNS`."""
        prefix = PREFIXES[self.colour]
        return (
            *(f"{prefix}_pickup_datetime", f"{prefix}_dropoff_datetime", "passenger_count", "trip_distance"),
            *("PULocationID", "DOLocationID", "payment_type"),
            *("fare_amount", "tip_amount", "tolls_amount", "total_amount"),
        )

    def __str__(self) -> str:
        return f"{self.colour} {self.year}-{self.month:02}"


def make_sample(month: Month, sample_format: SampleFormat = "csv") -> bytes:
    """Return a made-up file in the published form, with the same rows for a month on every machine.

    As in the published files, a few rows have no passenger or are of another month.

    Args:
        month: The month.
        sample_format: `csv` is compressed with gzip; `parquet` needs pyarrow.
    """
    headings = ["VendorID", *month.headings, "congestion_surcharge"]
    if sample_format == "parquet":
        return _write_parquet(headings, list(_sample_rows(month)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    for vendor, pickup, dropoff, passengers, miles, *rest in _sample_rows(month):
        zones, amounts = rest[:3], [f"{amount:.2f}" for amount in rest[3:]]
        writer.writerow([vendor, pickup, dropoff, passengers, miles, *zones, *amounts])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _sample_rows(month: Month) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(str(month))  # noqa: S311 - a sample, not a secret
    start = datetime(month.year, month.month, 1)  # noqa: DTZ001 - New York's own time, as published
    for _ in range(SAMPLE_ROWS):
        pickup = start + timedelta(minutes=chance.randrange(MINUTES_OF_28_DAYS))
        if chance.random() < 0.01:
            pickup -= timedelta(days=365)
        miles = round(0.3 + chance.expovariate(0.4), 2)
        dropoff = pickup + timedelta(minutes=round(2 + miles * 4))
        fare, tip = round(2.5 + miles * 2.5, 2), round(chance.random() * 5, 2)
        passengers = 0 if chance.random() < 0.02 else chance.choice((1, 1, 1, 2, 3))
        zones = (chance.randint(1, ZONES), chance.randint(1, ZONES))
        amounts = (fare, tip, 0.0, fare + tip, 2.75)
        yield (2, pickup, dropoff, passengers, miles, *zones, chance.choice((1, 2)), *amounts)


def _write_parquet(headings: list[str], rows: list[tuple[Any, ...]]) -> bytes:
    """Write rows with the types of the city's files, in which numbers that may be missing are floats."""
    pyarrow: Any = need("pyarrow", "A sample in Parquet")
    parquet: Any = need("pyarrow.parquet", "A sample in Parquet")
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = {name: pyarrow.array(values) for name, values in zip(headings, columns, strict=True)}
    arrays["passenger_count"] = arrays["passenger_count"].cast(pyarrow.float64())
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), file)
    return file.getvalue()


def fetch_file(month: Month, source_url: str, sample_format: SampleFormat = "csv") -> bytes:
    """Download the month's file, or make a sample of it.

    Args:
        month: The month.
        source_url: An address with {colour}, {year} and {month:02} in it; empty for a sample.
        sample_format: The sample's format.

    Raises:
        TaxiDataError: There is no such file, or `source_url` is not an address.
        MissingPackageError: The sample needs pyarrow, which this worker lacks.
        RequestException: The server could not be reached, or has trouble; a retry may help.
    """
    if not source_url:
        return make_sample(month, sample_format)
    try:
        address = source_url.format(colour=month.colour, year=month.year, month=month.month)
    except (LookupError, ValueError, AttributeError):
        address = ""
    if not address.startswith(("http://", "https://")):
        raise TaxiDataError(
            f"source_url is {source_url!r}; give an http address such as "
            "https://example.com/{colour}_tripdata_{year}-{month:02}.parquet"
        )
    answer = requests.get(address, timeout=DOWNLOAD_SECONDS)
    if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
        raise TaxiDataError(f"The server answers {answer.status_code} {answer.reason} for {address}.")
    answer.raise_for_status()
    return answer.content


def clean_rows(content: bytes, month: Month) -> Iterator[list[str]]:
    """Yield the rows to keep, with fields as text in the order of `COLUMNS`; missing ones are empty.

    Leaves out trips without a passenger, those that begin in another month, and those that end before they
    begin.

    Args:
        content: A file in the published form: Parquet, or CSV, compressed with gzip or plain.
        month: The month that it should be of.

    Raises:
        TaxiDataError: It is not such a file.
        MissingPackageError: It is Parquet, and this worker lacks pyarrow.
    """
    beginning = f"{month.year}-{month.month:02}-"
    read = _read_parquet if content.startswith(PARQUET) else _read_csv
    for fields in read(content, month):
        for column in WHOLE_NUMBERS:
            fields[column] = fields[column].removesuffix(".0")  # some files write 1.0
        pickup, dropoff, passengers = fields[:3]
        if pickup.startswith(beginning) and pickup <= dropoff and passengers not in ("", "0"):
            yield fields


def _read_csv(content: bytes, month: Month) -> Iterator[list[str]]:
    try:
        with _open_text(content) as text:
            reader = csv.DictReader(text)
            _require(month, content, reader.fieldnames or ())
            for row in reader:
                yield [row[heading] or "" for heading in month.headings]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TaxiDataError(f"{month.file_name(content)} cannot be read: {error}.") from None


def _read_parquet(content: bytes, month: Month) -> Iterator[list[str]]:
    what = f"{month.file_name(content)} is a Parquet file, and reading it"
    pyarrow: Any = need("pyarrow", what)
    parquet: Any = need("pyarrow.parquet", what)

    def texts(column: Any) -> list[str]:
        if pyarrow.types.is_timestamp(column.type):
            column = column.cast(pyarrow.timestamp("s"), safe=False)
        if pyarrow.types.is_floating(column.type):  # amounts such as 20.919999999999998
            numbers = ("" if value is None else f"{value:.2f}" for value in column.to_pylist())
            return ["" if number == "nan" else number.removesuffix(".00") for number in numbers]
        return [text or "" for text in column.cast(pyarrow.string()).to_pylist()]

    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        _require(month, content, file.schema_arrow.names)
        for batch in file.iter_batches(BATCH_ROWS, columns=list(month.headings)):
            columns = (texts(batch.column(heading)) for heading in month.headings)
            yield from map(list, zip(*columns, strict=True))
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise TaxiDataError(f"{month.file_name(content)} cannot be read: {reason}.") from None


def _require(month: Month, content: bytes, found: Collection[str]) -> None:
    """Raise `TaxiDataError` unless a file has all columns."""
    if missing := set(month.headings).difference(found):
        raise TaxiDataError(
            f"{month.file_name(content)} is no file of {month.colour} taxi trips: it has no column "
            f"{', '.join(sorted(missing))}."
        )


def _open_text(content: bytes) -> IO[str]:
    raw = io.BytesIO(content)
    is_compressed = content.startswith(GZIP)
    return io.TextIOWrapper(
        gzip.GzipFile(fileobj=raw) if is_compressed else raw, encoding="utf-8", newline=""
    )
