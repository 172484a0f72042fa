"""A day's parking payments: where they come from, which of them count, and what they add up to."""

import csv
import io
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

import requests

COLUMNS = ("payment_id", "zone", "paid_at", "minutes", "amount")
SAMPLE_ZONES = ("Harbour", "Market Square", "Old Town", "Station")
DOWNLOAD_SECONDS = (10, 60)  # to connect, and between two pieces of the answer


class PaymentsError(RuntimeError):
    """The day's payments cannot be fetched or used; the message says why."""


@dataclass
class ZoneTotal:
    """The totals of one zone.

    Attributes:
        payments: The number of payments.
        minutes: The parking time that was paid for.
        amount: The money, in the currency of the file.
    """

    payments: int = 0
    minutes: int = 0
    amount: Decimal = Decimal(0)


@dataclass
class Day:
    """A day's payments.

    Attributes:
        zones: The totals by zone, in alphabetical order.
        rejected: The number of rows that do not count, by reason.
    """

    zones: dict[str, ZoneTotal] = field(default_factory=dict[str, ZoneTotal])
    rejected: Counter[str] = field(default_factory=Counter[str])

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return sum(zone.payments for zone in self.zones.values()) + self.rejected.total()


def fetch(day: date, source_url: str) -> str:
    """Download a day's file, or make a sample of it.

    Args:
        day: The day.
        source_url: An http address with {day} in it, which becomes 2026-03-31; empty for a sample.

    Raises:
        PaymentsError: There is no such file, it is not text, or `source_url` is not an address.
        RequestException: The server could not be reached, or has trouble; a retry may help.
    """
    if not source_url:
        return make_sample(day)
    address = source_url.replace("{day}", day.isoformat())
    if not address.startswith(("http://", "https://")):
        raise PaymentsError(
            f"source_url is {source_url!r}; give an http address such as https://example.com/parking/{{day}}.csv"
        )
    answer = requests.get(address, timeout=DOWNLOAD_SECONDS)
    if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
        raise PaymentsError(f"The server answers {answer.status_code} {answer.reason} for {address}.")
    answer.raise_for_status()
    try:
        return answer.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PaymentsError(f"{address} is not UTF-8 text.") from None


def make_sample(day: date) -> str:
    """Make up a day's file, the same for a day on every machine; one of its rows is there twice."""
    chance = random.Random(day.toordinal())  # noqa: S311 - a sample, not a secret
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    moments = sorted(chance.randrange(6 * 3600, 22 * 3600) for _ in range(chance.randint(300, 500)))
    for number, second in enumerate(moments, start=1):
        minutes = chance.choice((15, 30, 60, 90, 120))
        paid_at = datetime.combine(day, time()) + timedelta(seconds=second)
        amount = Decimal(minutes) * 4 / 60
        payment = f"{day:%Y%m%d}-{number:04}"
        row = (payment, chance.choice(SAMPLE_ZONES), paid_at.isoformat(" "), minutes, f"{amount:.2f}")
        writer.writerow(row)
        if number == 100:
            writer.writerow(row)
    return file.getvalue()


def add_up(text: str, day: date) -> Day:
    """Check every row of a file, and add up those that count.

    A row counts if it is complete, of this day, not negative, and not a repeated payment.

    Raises:
        PaymentsError: It is not a file of payments.
    """
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise PaymentsError(f"The file of {day} is none of payments: it has no column {', '.join(missing)}.")
    found, seen = Day(), set[str]()
    try:
        for row in reader:
            values = [(row[column] or "").strip() for column in COLUMNS]
            reason = _why_not(values, day, seen)
            if reason:
                found.rejected[reason] += 1
                continue
            payment, zone, _, minutes, amount = values
            seen.add(payment)
            total = found.zones.setdefault(zone, ZoneTotal())
            total.payments += 1
            total.minutes += int(minutes)
            total.amount += Decimal(amount)
    except csv.Error as error:
        raise PaymentsError(f"The file of {day} cannot be read: {error}.") from None
    found.zones = dict(sorted(found.zones.items()))
    return found


def _why_not(values: list[str], day: date, seen: set[str]) -> str:
    payment, _, paid_at, minutes, amount = values
    if not all(values):
        return "incomplete"
    if payment in seen:
        return "paid twice"
    try:
        is_of_the_day = datetime.fromisoformat(paid_at).date() == day
        money = Decimal(amount)
    except (ValueError, InvalidOperation):
        return "unreadable"
    if not minutes.isdecimal() or not money.is_finite():
        return "unreadable"
    if not is_of_the_day:
        return "of another day"
    return "negative" if money < 0 else ""
