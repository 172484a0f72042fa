"""Filters lists by who created or last changed their items."""

from typing import Annotated

from fastapi import Depends

from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock
from yeedu_mock.routes.responses import Ids
from yeedu_mock.state.records import User


class Authors:
    """The users that a list's query asks for.

    Args:
        mock: Knows the users.
        created_by_ids: Who may have created an item; None admits everyone.
        modified_by_ids: Who may have changed it last; None admits everyone.
    """

    def __init__(
        self, mock: Mock, created_by_ids: list[int] | None, modified_by_ids: list[int] | None
    ) -> None:
        names = {user.id: user.username for user in mock.store.all(User)}
        self._created_by = _names(names, created_by_ids)
        self._modified_by = _names(names, modified_by_ids)

    def admit(self, created_by: str, modified_by: str) -> bool:
        """Return whether an item of these users is in the list; its creator counts as changing it too."""
        return (self._created_by is None or created_by in self._created_by) and (
            self._modified_by is None or (modified_by or created_by) in self._modified_by
        )


async def _authors(mock: TheMock, created_by_ids: Ids = None, modified_by_ids: Ids = None) -> Authors:
    return Authors(mock, created_by_ids, modified_by_ids)


TheAuthors = Annotated[Authors, Depends(_authors)]


def _names(names: dict[int, str], ids: list[int] | None) -> set[str] | None:
    return None if not ids else {names[identifier] for identifier in ids if identifier in names}
