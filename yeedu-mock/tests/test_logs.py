"""Logs as files: whole, from an offset, and while they grow."""

import pytest


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
