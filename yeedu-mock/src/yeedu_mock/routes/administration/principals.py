"""Lists and finds users and groups, for several routes."""

from collections.abc import Sequence
from typing import Any, Literal

from yeedu_mock.errors import NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.state.records import Group, User

Kind = Literal["user", "group"]
Person = User | Group

NAME_KEYS: dict[Kind, str] = {"user": "username", "group": "groupname"}


def people_of(mock: Mock, kind: Kind, tenant: str) -> Sequence[Person]:
    """Return the users or the groups of a tenant."""
    if kind == "user":
        return [user for user in mock.store.all(User) if tenant in user.tenants]
    return [group for group in mock.store.all(Group) if group.tenant == tenant]


def name_of(person: Person) -> str:
    """Return the name of a user or a group."""
    return person.username if isinstance(person, User) else person.name


def with_id(mock: Mock, kind: Kind, tenant: str, identifier: int | None) -> Person:
    """Return a user or group of a tenant by its id.

    Raises:
        NotFoundError: The tenant has none.
    """
    for person in people_of(mock, kind, tenant):
        if person.id == identifier:
            return person
    raise NotFoundError(f"There is no {kind} {identifier} in the selected tenant.")


def with_name(mock: Mock, kind: Kind, tenant: str, name: str) -> Person:
    """Return the user or group of a tenant with exactly this name.

    Raises:
        NotFoundError: The tenant has none.
    """
    for person in people_of(mock, kind, tenant):
        if name_of(person) == name:
            return person
    raise NotFoundError(f"There is no {kind} called {name!r} in the selected tenant.")


def search(people: Sequence[Person], name: str) -> list[Person]:
    """Return those whose name contains `name`.

    Raises:
        NotFoundError: There are none.
    """
    found = [person for person in people if name.casefold() in name_of(person).casefold()]
    if not found:
        raise NotFoundError("Nobody was found.")
    return found


def shown(person: Person) -> dict[str, Any]:
    """Return a user or group in the API's form."""
    kind: Kind = "user" if isinstance(person, User) else "group"
    return {f"{kind}_id": person.id, NAME_KEYS[kind]: name_of(person)}
