"""Imported by the server that forks the processes: what none of them does again."""

import gc
import importlib

from tests.weather import calls  # noqa: F401 - Prefect and the operator, whose import takes longest
from tests.weather.fast_time import hurry
from yeedu_worker.patches.repeated_work import complete_models, share_certificates

for name in ("anyio._backends._asyncio", "rich._emoji_codes"):
    importlib.import_module(name)
with hurry():  # imports what is left of the operator
    pass
complete_models()
share_certificates(at_once=True)
gc.freeze()
