"""Imported by the server that forks the flow processes, and by nobody else: what none of them does again.

Importing Prefect takes longer than all that the flow does. The rest is what the worker's forks are spared.
"""

import gc
import importlib

from yeedu_worker.repeated_work import complete_models, share_certificates

for name in ("killed_flow", "anyio._backends._asyncio", "rich._emoji_codes"):
    importlib.import_module(name)
complete_models()
share_certificates(at_once=True)
gc.freeze()
