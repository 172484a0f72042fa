"""Fly sequences of faults, some at once, over mocks and a Prefect server that they share."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import queue
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import requests
from prefect.blocks.system import Secret
from prefect.settings import temporary_settings

from tests.prefect_process import PrefectProcess
from tests.tls_server import self_signed
from tests.weather.calls import PASSWORD_BLOCK, Outcome, settings_of_a_client
from tests.weather.definitions import Yeedu
from tests.weather.fast_time import hurry
from tests.weather.mock_weather import Weather
from tests.weather.sequence import Sequence, fork_server, prefect_client
from yeedu_mock.state import passwords
from yeedu_mock.testing import default_settings, running_mock
from yeedu_worker.patches.repeated_work import complete_models, share_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.weather.plan import Plan

AT_ONCE = int(os.environ.get("WEATHER_AT_ONCE", "10"))
PASSWORD = "demo-password"  # the mock's, where it is given none
# Of the Prefect server, what keeps events and looks for automations that one sets off; no sequence has any.
OF_EVENTS = ("EVENT_PERSISTER", "TRIGGERS")


class Sky:
    """Mocks for so many sequences at once, some over http and some over https."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._certificate = self_signed(folder)
        self._free = {False: queue.SimpleQueue[Yeedu](), True: queue.SimpleQueue[Yeedu]()}
        for number in range(AT_ONCE):
            is_tls = number % 5 in {1, 3}  # as many as plans that want it
            settings = default_settings(folder / str(number))
            if is_tls:
                settings = replace(settings, tls_certificate=self._certificate)
            running = stack.enter_context(running_mock(settings))
            yeedu = Yeedu(running, Weather(running.mock), str(self._certificate) if is_tls else True)
            requests.get(running.health_url, timeout=90, verify=yeedu.verify).raise_for_status()
            self._free[is_tls].put(yeedu)

    def fly(self, plan: Plan) -> tuple[list[Outcome], list[str]]:
        """Fly a plan on a free mock; return the calls' outcomes, and what is wrong."""
        yeedu = self._free[plan.is_tls].get()
        try:
            with prefect_client() as prefect:
                sequence = Sequence(plan, yeedu, prefect)
                return sequence.outcomes, sequence.fly()
        finally:
            self._free[plan.is_tls].put(yeedu)


@contextmanager
def clear_sky(folder: Path) -> Iterator[Sky]:
    """Start a Prefect server, mocks, and a hurry of the operator's time, in this process."""
    off = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in OF_EVENTS}
    with ExitStack() as stack:
        server = stack.enter_context(PrefectProcess(folder / "prefect", off))
        stack.enter_context(temporary_settings(settings_of_a_client(server.url)))
        complete_models()
        share_certificates(at_once=True)
        stack.enter_context(fork_server())
        stack.enter_context(hurry())
        logging.disable()  # thousands of failed flows; what matters of them is in their outcomes
        stack.enter_context(patch.object(passwords, "_scrypt", quick_hash))
        above = Sky(folder / "weather", stack)
        Secret(value=PASSWORD).save(PASSWORD_BLOCK, overwrite=True)
        gc.collect()
        gc.freeze()  # what stays until the end need not be looked through again and again
        yield above


def quick_hash(password: str, salt: bytes) -> bytes:
    """Hash a password in no time: it is that of one sequence, and nobody is to guess it."""
    return hashlib.sha256(salt + password.encode()).digest()


def fly_all(sky: Sky, plans: list[Plan]) -> list[str]:
    """Fly plans, some at once; return what is wrong, each with the plan that shows it again."""
    context = copy_context()  # holds the Prefect server's address
    names: Counter[str] = Counter()

    def fly(plan: Plan) -> list[str]:
        try:
            outcomes, wrong = context.copy().run(sky.fly, plan)
        except Exception:  # noqa: BLE001 - of the test itself; the others are to be flown all the same
            return [f"BROKEN: {traceback.format_exc()}"]
        names.update(outcome.name for outcome in outcomes)
        return wrong

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [(plan, wrong) for plan, wrong in zip(plans, pool.map(fly, plans), strict=True) if wrong]
    print(f"{len(plans)} sequences, {len(found)} wrong; outcomes: {dict(names.most_common())}")
    if os.environ.get("WEATHER_SHRINK"):
        found = [shrunk(sky, plan, wrong) for plan, wrong in found]
    return ["\n    ".join([*wrong, str(plan)]) for plan, wrong in found]


def shrunk(sky: Sky, plan: Plan, wrong: list[str]) -> tuple[Plan, list[str]]:
    """Return a plan that fails in the same way, and fails to when anything more is left out."""
    for smaller in plan.smaller():
        still = sky.fly(smaller)[1]
        if {text.split(":")[0] for text in still} & {text.split(":")[0] for text in wrong}:
            return shrunk(sky, smaller, still)
    return plan, wrong
