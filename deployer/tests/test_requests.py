"""How often the server is asked: `up` waits for the first registration."""

from collections import Counter

import httpx
import pytest
from declared import HEAD, ONE

from yeedu_deployer.server import open_client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the requests of every client of this process, by method and path after `/api/`.

    Those that a locked SQLite answers with 503 are asked again, and count once.
    """
    counted: Counter[str] = Counter()
    send = httpx.Client.send

    def count(client: httpx.Client, request: httpx.Request, **options: object) -> httpx.Response:
        response = send(client, request, **options)
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            counted[f"{request.method} {request.url.path.removeprefix('/api/')}"] += 1
        return response

    monkeypatch.setattr(httpx.Client, "send", count)
    return counted


def test_a_first_registration_asks_little(platform, server, asked: Counter[str]) -> None:
    for block_type in platform.client.read_block_types():
        if block_type.slug.startswith("yeedu-"):
            platform.client.delete_block_type(block_type.id)
    names = ["first", "second", "third"]
    asked.clear()

    with open_client(server.url) as platform.client:
        report = platform.apply(HEAD + "".join(ONE.replace("name: one", f"name: {name}") for name in names))

    assert report.failures == []
    assert list(platform.outcomes(report, "first run")) == names
    assert [number for what, number in asked.items() if what.endswith("/create_flow_run")] == [1, 1, 1]
    assert (asked["POST flows/"], asked["POST deployments/"]) == (3, 3)
    assert asked["POST deployments/filter"] == 1, "all of them at once"
    assert asked["POST work_pools/filter"] == 1
    assert (asked["POST variables/"], asked["GET work_pools/yeedu-pool"]) == (1, 0)
    assert asked["GET csrf-token"] == 1, "one client does it all"
    assert asked.total() <= 3 * len(names) + 44
