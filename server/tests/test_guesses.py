"""Guesses at the login: how many are free, who waits, and what is remembered of it."""

import asyncio
from typing import Any

import login
import pytest
from login import FREE_GUESSES, MAX_ADDRESSES, SECONDS_FOR_ONE, Guesses


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def guess(guesses: Guesses, client: str, times: int) -> None:
    for _ in range(times):
        guesses.note(client)


def test_some_are_free_and_come_back_with_time(guesses: Guesses, clock: Clock) -> None:
    guess(guesses, "192.0.2.1", 9)
    assert guesses.free("192.0.2.1") == 1
    guess(guesses, "192.0.2.1", 100)
    assert guesses.free("192.0.2.1") == 0
    clock.now += SECONDS_FOR_ONE
    assert guesses.free("192.0.2.1") == 1
    clock.now += 3600
    assert guesses.free("192.0.2.1") == FREE_GUESSES


def test_no_address_pays_for_another(guesses: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "PAUSE_SECONDS", 3600)
    guess(guesses, "192.0.2.1", 100)
    assert guesses.free("192.0.2.2") == FREE_GUESSES
    assert asyncio.run(asyncio.wait_for(guesses.turn("192.0.2.2"), 60))


def test_whoever_has_a_network_of_addresses_has_one(guesses: Guesses) -> None:
    for number in range(100):
        guesses.note(f"2001:db8::{number:x}")
    assert guesses.free("2001:db8::ffff:1") == 0
    assert guesses.free("2001:db8:0:1::1") == FREE_GUESSES


def test_memory_is_bounded_however_many_guess(guesses: Any) -> None:
    for number in range(3 * MAX_ADDRESSES):
        guesses.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._free) == MAX_ADDRESSES


def test_wait_is_short_for_everybody_and_only_so_many_wait(
    guesses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(login, "MAX_WAITING", 3)
    guess(guesses, "192.0.2.1", 100)

    async def ask() -> list[bool]:
        return await asyncio.gather(*(guesses.turn("192.0.2.1") for _ in range(5)))

    assert sorted(asyncio.run(ask())) == [False, False, True, True, True]
    assert not guesses._waiting
