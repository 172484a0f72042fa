"""New York's taxi trips, a file for each month: made-up samples of them, and how their rows are cleaned."""

import csv
import gzip
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Literal

import requests

Colour = Literal["green", "yellow"]

# As the city publishes them: yellow taxis' times are of the TPEP, green ones' of the LPEP.
PREFIXES: dict[str, str] = {"green": "lpep", "yellow": "tpep"}
COLUMNS = (
    *("pickup_at", "dropoff_at", "passengers", "distance_miles", "pickup_zone", "dropoff_zone"),
    *("payment_type", "fare", "tip", "tolls", "total"),
)
SAMPLE_ROWS = 1_000
DOWNLOAD_SECONDS = (10, 120)  # to connect, and between two pieces of the file
ZONES = 263
MINUTES_OF_28_DAYS = 28 * 24 * 60


class TaxiDataError(RuntimeError):
    """A file cannot be had, or does not hold the trips that it should; the message says why."""


@dataclass(frozen=True)
class Month:
    """One colour's trips of one month."""

    colour: Colour
    year: int
    month: int

    @property
    def file_name(self) -> str:
        """The name of its file, as published."""
        return f"{self.colour}_tripdata_{self.year}-{self.month:02}.csv.gz"

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


def make_sample(month: Month) -> bytes:
    """Return a made-up file in the published form, the same bytes for the same month on every machine.

    A few rows have no passenger or lie in another month, as some of the published ones do.
    """
    chance = random.Random(str(month))  # noqa: S311 - a sample, no secret
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["VendorID", *month.headings, "congestion_surcharge"])
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
        amounts = (f"{fare:.2f}", f"{tip:.2f}", "0.00", f"{fare + tip:.2f}")
        writer.writerow(
            [2, pickup, dropoff, passengers, miles, *zones, chance.choice((1, 2)), *amounts, "2.75"]
        )
    return gzip.compress(text.getvalue().encode(), mtime=0)


def fetch_file(month: Month, source_url: str) -> bytes:
    """Download the month's file, or make a sample of it.

    Args:
        month: Which one.
        source_url: An address with {colour}, {year} and {month:02} in it; empty: a sample.

    Raises:
        TaxiDataError: There is no such file, or `source_url` is no address.
        RequestException: The server could not be reached, or has trouble; another try may help.
    """
    if not source_url:
        return make_sample(month)
    try:
        address = source_url.format(colour=month.colour, year=month.year, month=month.month)
    except (LookupError, ValueError, AttributeError):
        address = ""
    if not address.startswith(("http://", "https://")):
        raise TaxiDataError(
            f"source_url is {source_url!r}; give an http address such as "
            "https://example.com/{colour}_tripdata_{year}-{month:02}.csv.gz"
        )
    answer = requests.get(address, timeout=DOWNLOAD_SECONDS)
    if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
        raise TaxiDataError(f"The server answers {answer.status_code} {answer.reason} for {address}.")
    answer.raise_for_status()
    return answer.content


def clean_rows(content: bytes, month: Month) -> Iterator[list[str]]:
    """Yield the rows to keep, their fields in the order of `COLUMNS`.

    Left out are trips without a passenger, those that begin in another month, and those that end before they
    begin.

    Args:
        content: A file in the published form, compressed with gzip or plain.
        month: Which month it should be.

    Raises:
        TaxiDataError: It is not such a file.
    """
    try:
        with _open_text(content) as text:
            reader = csv.DictReader(text)
            missing = set(month.headings).difference(reader.fieldnames or ())
            if missing:
                raise TaxiDataError(
                    f"{month.file_name} is no file of {month.colour} taxi trips: it has no column "
                    f"{', '.join(sorted(missing))}."
                )
            beginning = f"{month.year}-{month.month:02}-"
            for row in reader:
                fields = [row[heading] or "" for heading in month.headings]
                pickup, dropoff, passengers = fields[:3]
                if pickup.startswith(beginning) and pickup <= dropoff and passengers not in ("", "0", "0.0"):
                    fields[2] = passengers.partition(".")[0]  # some files write 1.0
                    yield fields
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TaxiDataError(f"{month.file_name} cannot be read: {error}.") from None


def _open_text(content: bytes) -> IO[str]:
    raw = io.BytesIO(content)
    is_compressed = content[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(
        gzip.GzipFile(fileobj=raw) if is_compressed else raw, encoding="utf-8", newline=""
    )
