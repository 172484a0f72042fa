"""The project parking: its modules, and its flow against a real HTTP server."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from scripts.payments import COLUMNS, PaymentsError, add_up, make_sample
from summarise_payments import download, summarise_payments

DAY = date(2026, 3, 31)
HEADING = ",".join(COLUMNS)
FILE = f"""{HEADING}
1,Station,2026-03-31 08:00:00,60,4.00
2,Station,2026-03-31 09:00:00,15,1.00
3,Harbour,2026-03-31T10:00:00,30,2.10
3,Harbour,2026-03-31T10:00:00,30,2.10
4,Harbour,2026-03-30 23:59:59,30,2.00
5,Harbour,yesterday,30,2.00
6,Harbour,2026-03-31 11:00:00,30,-2.00
7,,2026-03-31 11:00:00,30,2.00
8,Harbour,2026-03-31 11:00:00,30,NaN
9,Harbour,2026-03-31 11:00:00,half an hour,2.00
"""
ADDED_UP = [
    {"zone": "Harbour", "payments": 1, "hours": 0.5, "amount": 2.1},
    {"zone": "Station", "payments": 2, "hours": 1.25, "amount": 5.0},
]


def test_rows_that_count_are_added_up_and_the_others_are_counted_by_reason() -> None:
    day = add_up(FILE, DAY)
    assert list(day.zones) == ["Harbour", "Station"]
    assert (day.zones["Station"].payments, day.zones["Station"].amount) == (2, Decimal("5.00"))
    assert dict(day.rejected) == {
        "paid twice": 1,
        "of another day": 1,
        "unreadable": 3,
        "negative": 1,
        "incomplete": 1,
    }
    assert day.rows == 10


def test_another_file_is_refused_by_its_columns() -> None:
    with pytest.raises(PaymentsError, match="it has no column zone, minutes"):
        add_up("payment_id,paid_at,amount\n", DAY)


def test_the_sample_of_a_day_is_always_the_same_and_holds_one_payment_twice() -> None:
    assert make_sample(DAY) == make_sample(DAY) != make_sample(date(2026, 4, 1))
    day = add_up(make_sample(DAY), DAY)
    assert dict(day.rejected) == {"paid twice": 1}
    assert len(day.zones) == 4


def test_a_days_file_becomes_a_table(prefect_server: str, file_server: Any) -> None:
    file_server.body = FILE.encode()
    url = f"http://127.0.0.1:{file_server.server_port}/{{day}}.csv"
    state = summarise_payments(DAY, url, 70, return_state=True)
    assert state.result() == ADDED_UP
    assert file_server.asked == ["/2026-03-31.csv"]
    with get_client(sync_client=True) as client:
        of_run = {"flow_run_id": {"any_": [state.state_details.flow_run_id]}}
        (artifact,) = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(of_run))
    assert json.loads(str(artifact.data)) == ADDED_UP
    assert "left out: 3 unreadable, 1 paid twice" in str(artifact.description)


def test_a_file_that_is_mostly_wrong_fails_the_run_with_the_reasons(
    prefect_server: str, file_server: Any
) -> None:
    file_server.body = FILE.encode()
    url = f"http://127.0.0.1:{file_server.server_port}/payments.csv"
    state = summarise_payments(DAY, url, return_state=True)
    assert state.is_failed()
    assert "Of 10 payments of 2026-03-31, too many are wrong: 3 unreadable" in (state.message or "")


def test_a_servers_trouble_is_waited_out_and_a_missing_file_is_not(
    prefect_server: str, file_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "retry_delay_seconds", [0.01] * 4)
    file_server.body = FILE.encode()
    file_server.statuses = [503, 429]
    url = f"http://127.0.0.1:{file_server.server_port}/{{day}}.csv"
    assert summarise_payments(DAY, url, 70) == ADDED_UP
    file_server.statuses = [404]
    state = summarise_payments(DAY, url, 70, return_state=True)
    assert "The server answers 404 Not Found for http://127.0.0.1" in (state.message or "")
    assert len(file_server.asked) == 4


def test_an_address_of_another_kind_is_one_sentence(prefect_server: str) -> None:
    state = summarise_payments(DAY, "ftp://example.com/{day}.csv", return_state=True)
    assert "source_url is 'ftp://example.com/{day}.csv'; give an http address" in (state.message or "")


def test_the_flow_runs_as_a_script_from_any_folder(run_python: Callable[..., Any]) -> None:
    process = run_python(str(Path(__file__).parents[1] / "summarise_payments.py"))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "payments in 4 zones on 2026-03-31; left out: 1 paid twice" in output
