"""A change between one server and several waits for whoever holds a slot, or frees it."""

from typing import Any

import pytest

from local.api import ApiUnavailableError, PrefectApi
from local.console import Console
from local.containers.slots import check_slots
from local.errors import CommandError


class FakeApi(PrefectApi):
    """A server with more limits than it tells at once; as a real one does: test_restored_slots.py."""

    def __init__(self, *names: str) -> None:
        free = [(f"free-{number}", 0, 0.0) for number in range(250)]
        limits = [*free, ("rate", 3, 0.5), *((name, 1, 0.0) for name in names)]
        self.limits = [
            {"id": name, "name": name, "active_slots": slots, "slot_decay_per_second": decay}
            for name, slots, decay in limits
        ]

    def post(self, path: str, body: dict[str, int]) -> Any:
        assert path == "/v2/concurrency_limits/filter"
        return self.limits[body["offset"] : body["offset"] + body["limit"]]

    def patch(self, path: str, body: dict[str, Any]) -> None:
        [found] = [one for one in self.limits if path == f"/v2/concurrency_limits/{one['id']}"]
        found.update(body)

    def taken(self) -> set[Any]:
        return {one["name"] for one in self.limits if one["active_slots"]}


def check(api: Any, *, insists: bool = False) -> None:
    check_slots(api, Console(), insists=insists)


def test_a_slot_that_is_taken_is_waited_for_or_freed(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi("loads", "deployment:1")
    with pytest.raises(CommandError, match=r"^slots are taken of deployment:1, loads; .* or say YES=1"):
        check(api)
    assert api.taken() == {"rate", "loads", "deployment:1"}
    check(api, insists=True)
    assert api.taken() == {"rate"}
    assert "slots        of deployment:1, loads are free" in capsys.readouterr().out
    check(api)


def test_a_server_that_is_away_holds_nothing_up() -> None:
    class Away(FakeApi):
        def post(self, path: str, body: dict[str, int]) -> Any:
            raise ApiUnavailableError("it does not answer")

    check(Away("loads"))
