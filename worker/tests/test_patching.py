"""A patch is applied where Prefect is what it was written for, and left out with the reason where not."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import prefect
import pytest

from yeedu_worker.patching import (
    IN_FORCE,
    KNOWN_RELEASES,
    LEFT_OUT,
    Patches,
    PatchRefusedError,
    Place,
    left_out,
)

METHOD = Place("some_library.inner:Outer.work", "(self, what, *, how=)", ("helper",))


@pytest.fixture
def library() -> Iterator[Any]:
    """A module with a class that is patched."""

    def helper(what: str) -> str:
        return f"stock {what}"

    class Outer:
        def work(self, what: str, *, how: int = 3) -> str:
            return helper(what) * (how // 3)

    package: Any = ModuleType("some_library")
    inner: Any = ModuleType("some_library.inner")
    inner.Outer, inner.helper, package.inner = Outer, helper, inner
    sys.modules |= {"some_library": package, "some_library.inner": inner}
    yield inner
    del sys.modules["some_library"], sys.modules["some_library.inner"]


def declared(place: Place = METHOD, *, is_needed: bool = False) -> tuple[Patches, Any]:
    patches = Patches()

    @patches.declare("worked", place, purpose="work is done", is_needed=is_needed)
    def apply(answer: str) -> None:
        def work(self: Any, what: str, *, how: int = 3) -> str:
            return answer

        place.replace(work)

    return patches, apply


def method(what: str) -> str:
    """A function of another signature than the known one."""
    return what


def test_known_place_is_replaced_and_reported(library: Any) -> None:
    patches, apply = declared()
    assert apply("ours")
    assert library.Outer().work("it") == "ours"
    [state] = patches.report()
    assert (state.name, state.replaces, state.state) == ("worked", METHOD.path, IN_FORCE)
    assert state.why == "work is done"
    assert left_out(patches.report()) == "", "what it replaced is not taken for a change of Prefect's"


@pytest.mark.parametrize(
    ("place", "change", "why"),
    [
        (METHOD, ("Outer", ModuleType("empty")), "some_library.inner:Outer.work is not there"),
        (METHOD, ("Outer.work", method), f"{METHOD.path} takes (what), not (self, what, *, how=)"),
        (Place(METHOD.path, names=("gone",)), (), f"{METHOD.path} does not use gone"),
        (METHOD, ("Outer.work", 17), f"{METHOD.path} takes nothing, not (self, what, *, how=)"),
        (Place("some_library.lost"), (), "some_library.lost is not there"),
        (Place("no_library:at_all"), (), "no_library:at_all is not there"),
    ],
)
def test_changed_place_keeps_its_own_way_and_says_why(
    library: Any, place: Place, change: tuple[str, Any], why: str
) -> None:
    if change:
        Place(f"some_library.inner:{change[0]}").replace(change[1])
    before = getattr(library.Outer, "work", None)
    patches, apply = declared(place)
    assert not apply("ours")
    assert getattr(library.Outer, "work", None) is before
    assert [(state.state, state.why) for state in patches.report()] == [(LEFT_OUT, why)]
    assert left_out(patches.report()) == f"Prefect's own code runs in place of worked ({why})"


def test_on_a_release_that_is_not_known_only_what_is_needed_is_applied(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect, "__version__", "3.99.0")
    patches, apply = declared()
    assert not apply("ours")
    assert library.Outer().work("it") == "stock it"
    why = f"Prefect 3.99.0 is not known, {' and '.join(KNOWN_RELEASES)} is"
    assert left_out([*patches.report(), *declared()[0].report()]) == (
        f"Prefect's own code runs in place of worked, worked ({why})"
    )
    assert declared(is_needed=True)[1]("ours")
    assert library.Outer().work("it") == "ours"


def test_what_is_needed_and_cannot_be_is_refused_in_one_sentence(library: Any) -> None:
    del library.Outer.work
    _, apply = declared(is_needed=True)
    with pytest.raises(PatchRefusedError) as refused:
        apply("ours")
    assert str(refused.value) == (
        f"Prefect {prefect.__version__} cannot be used: {METHOD.path} is not there, by which work is done; "
        f"use Prefect {' or '.join(KNOWN_RELEASES)}"
    )
