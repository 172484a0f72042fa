"""Logs as files: whole, from an offset, the end of a long one, and of a run that has written nothing."""

import threading
import time

import pytest
import requests

LARGE = "import sys\nfor number in range(400_000): sys.stdout.write(f'{number:099d}\\n')"


@pytest.fixture(scope="module")
def large(yeedu_mock):
    """A job whose log is 40 MB."""
    body = {"program": LARGE, "name": "large"}
    return requests.post(f"{yeedu_mock.url}/_control/jobs", json=body, timeout=90).json()["job_id"]


def log(client, run_id, **options):
    path = f"{client.url}/api/v1/workspace/1/spark/job/run/{run_id}/log/stdout"
    headers = {"Authorization": f"Bearer {client.token}", **options.pop("headers", {})}
    return client.session.get(path, headers=headers, timeout=90, **options)


@pytest.fixture
def run_id(client):
    run_id = client.run_job(101)
    assert client.wait("spark/job", run_id) == "DONE"
    return run_id


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [("bytes=10-", 206, 10, None), ("bytes=0-4", 206, 0, 5), ("bytes=-6", 206, -6, None)],
)
def test_a_range_is_answered_with_that_part(client, run_id, wanted, status, start, end):
    whole = log(client, run_id).content
    answer = log(client, run_id, headers={"Range": wanted})
    assert answer.status_code == status
    assert answer.content == whole[start:end]
    assert answer.headers["content-range"].endswith(f"/{len(whole)}")


def test_a_range_beyond_the_end_is_a_416(client, run_id):
    whole = log(client, run_id).content
    answer = log(client, run_id, headers={"Range": f"bytes={len(whole)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(whole)}"


def test_a_log_that_grows_is_read_piece_by_piece_without_loss(client, until):
    run_id = client.run_job(103)
    read = b""

    def read_on():
        nonlocal read
        answer = log(client, run_id, headers={"Range": f"bytes={len(read)}-"})
        assert answer.status_code in {206, 416} or (answer.status_code, answer.content) == (200, b"")
        read += answer.content if answer.status_code == 206 else b""
        return b"after 2 seconds" in read

    until(read_on)
    client.post(client.workspace(f"spark/job/run/stop/{run_id}"))
    client.wait("spark/job", run_id)
    assert log(client, run_id).content.startswith(read)


def test_many_downloads_of_a_large_log_leave_others_their_turn(client, large, yeedu_mock):
    run_id = client.run_job(large)
    assert client.wait("spark/job", run_id) == "DONE"
    downloads = [threading.Thread(target=log, args=(client, run_id)) for _ in range(4)]
    longest = 0.0
    for download in downloads:
        download.start()
    while any(download.is_alive() for download in downloads):
        begun = time.monotonic()
        requests.get(yeedu_mock.health_url, timeout=90)
        longest = max(longest, time.monotonic() - begun)
    assert longest < 2
    tail = log(client, run_id, params={"last_n_lines": 1})
    assert int(tail.text) == 399_999
