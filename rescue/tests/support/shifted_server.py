"""The service's own client of a Prefect server, with a clock that a test moves on."""

from datetime import datetime, timedelta
from typing import Any

from yeedu_rescue.server import Server


class ShiftedServer(Server):
    """The server, whose clock the test moves on: the times at which it has received events move with it.

    Attributes:
        received: By how much its clock was ahead when it took an event, by the event's id.
    """

    shift = timedelta()

    @staticmethod
    def as_shown(at: datetime) -> datetime:
        """Return what the server's clock shows at a moment, where that goes faster."""
        return at

    def __init__(
        self, url: str, received: dict[str, timedelta], auth_string: str = "", api_key: str = ""
    ) -> None:
        super().__init__(url, auth_string, api_key)
        self.received = received

    def time(self) -> datetime:
        return super().time() + self.shift

    def post(self, path: str, body: Any) -> Any:
        shift = self.shift
        answer = super().post(path, body)
        if path == "/events":
            self.received |= {event["id"]: shift for event in body}
        if path == "/events/filter":
            for event in answer["events"]:
                at = self.as_shown(datetime.fromisoformat(event["received"]))
                event["received"] = (at + self.received.get(event["id"], timedelta())).isoformat()
        return answer
