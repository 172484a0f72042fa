"""Patches Prefect's internals, but only where they are what the patch was written for.

A patch names every place that it replaces or relies on. It is applied if this Prefect is a known release,
each place exists with its known signature, and the code that must use it still names it. Otherwise it is left
out, Prefect's own code runs, and a report says so. A patch that is unsafe to leave out refuses instead, and
is applied to unknown releases too.
"""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KNOWN_RELEASES = ("3.9.1",)
IN_FORCE, LEFT_OUT = "in force", "left out"
P = ParamSpec("P")


class PatchRefusedError(Exception):
    """A patch that is unsafe to leave out cannot be applied; the message is one sentence."""


class _Default:
    """Stands for any default value of a parameter."""

    def __repr__(self) -> str:
        return ""


@dataclass(frozen=True)
class Place:
    """Something in a library that a patch replaces or relies on.

    Attributes:
        path: Its module, a colon, and its name there; a module alone only has to exist.
        signature: Its parameters without types and default values, such as ``(self, session, wait=)``; empty
            if it is not called.
        names: The names that its code must use for the patch to have an effect.
    """

    path: str
    signature: str = ""
    names: tuple[str, ...] = ()

    def find(self) -> Any:
        """Return the object at this place.

        Raises:
            ImportError, AttributeError: There is none.
        """
        module, _, name = self.path.partition(":")
        found: Any = importlib.import_module(module)
        for part in filter(None, name.split(".")):
            found = getattr(found, part)
        return found

    def replace(self, new: Any) -> None:
        """Put another object in this place."""
        module, _, path = self.path.partition(":")
        owner, _, name = path.rpartition(".")
        setattr(Place(f"{module}:{owner}").find(), name, new)

    def trouble(self) -> str:
        """Return why a patch cannot rely on it; an empty string if it can."""
        is_missing = f"{self.path} is not there"
        try:
            if ":" not in self.path:
                return "" if importlib.util.find_spec(self.path) else is_missing
            found = self.find()
        except (ImportError, AttributeError):
            return is_missing
        if self.signature and (signature := _signature(found)) != self.signature:
            return f"{self.path} takes {signature}, not {self.signature}"
        if missing := sorted(set(self.names) - set(_names(_code(found)))):
            return f"{self.path} does not use {', '.join(missing)}"
        return ""


@dataclass(frozen=True)
class PatchState:
    """Whether a patch is in force, and why.

    Attributes:
        name: The patch's.
        replaces: The places that it replaces or relies on, separated by commas.
        state: ``in force``, or ``left out``.
        why: What it is for, if it is in force; else why it is left out.
    """

    name: str
    replaces: str
    state: str
    why: str


class Patch(Generic[P]):
    """One patch; calling it applies it, or leaves it out.

    Args:
        name: For reports.
        purpose: What it improves, and why no public way does.
        places: Everything that it replaces or relies on.
        is_needed: Whether it is unsafe to leave it out.
        apply: Puts it in force.
    """

    def __init__(
        self, name: str, purpose: str, places: tuple[Place, ...], apply: Callable[P, None], *, is_needed: bool
    ) -> None:
        self.name = name
        self._purpose, self._places, self._is_needed, self._apply = purpose, places, is_needed, apply
        self.__doc__ = apply.__doc__

    @cached_property
    def why_not(self) -> str:
        """Why it is left out; an empty string if it is not. Found once, before anything is replaced."""
        if not self._is_needed and (unknown := _unknown_release()):
            return unknown
        return next(filter(None, (place.trouble() for place in self._places)), "")

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> bool:
        """Apply it if possible, and return whether it is in force.

        Raises:
            PatchRefusedError: It is not possible, and the patch is needed.
        """
        if not self.why_not:
            self._apply(*arguments, **options)
            return True
        if self._is_needed:
            raise PatchRefusedError(
                f"{_release()} cannot be used: {self.why_not}, by which {self._purpose}; "
                f"use Prefect {' or '.join(KNOWN_RELEASES)}"
            )
        return False

    def state(self) -> PatchState:
        """Return its state in this process."""
        why_not = self.why_not
        places = ", ".join(place.path for place in self._places)
        return PatchState(self.name, places, LEFT_OUT if why_not else IN_FORCE, why_not or self._purpose)


class Patches:
    """The patches of one service, in the order in which they are declared."""

    def __init__(self) -> None:
        self._all: list[Patch[...]] = []

    def declare(
        self, name: str, *places: Place, purpose: str, is_needed: bool = False
    ) -> Callable[[Callable[P, None]], Patch[P]]:
        """Return a decorator that makes a patch of the function that applies it; see `Patch`."""

        def declared(apply: Callable[P, None]) -> Patch[P]:
            patch = Patch(name, purpose, places, apply, is_needed=is_needed)
            self._all.append(patch)
            return patch

        return declared

    def report(self) -> list[PatchState]:
        """Return the state of each in this process."""
        return [patch.state() for patch in self._all]


def left_out(report: Sequence[PatchState]) -> str:
    """Return one line that says which patches are left out and why; an empty string if none is."""
    reasons: dict[str, list[str]] = {}
    for state in report:
        if state.state == LEFT_OUT:
            reasons.setdefault(state.why, []).append(state.name)
    if not reasons:
        return ""
    told = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
    return f"Prefect's own code runs in place of {told}"


def _unknown_release() -> str:
    """Return a clause saying that this Prefect is no known release; an empty string if it is one."""
    known = " and ".join(KNOWN_RELEASES)
    return "" if _version() in KNOWN_RELEASES else f"{_release()} is not known, {known} is"


def _release() -> str:
    return f"Prefect {_version()}"


def _version() -> str:
    import prefect

    return prefect.__version__


def _signature(found: Any) -> str:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return "nothing"
    plain = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty if parameter.default is parameter.empty else _Default(),
        )
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def _code(found: Any) -> CodeType | None:
    return getattr(inspect.unwrap(found), "__code__", None)


def _names(code: CodeType | None) -> Iterator[str]:
    if code is None:
        return
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
