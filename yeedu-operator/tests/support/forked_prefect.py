"""Imported by the server that forks the flow processes, and by nobody else: what none of them does again.

Importing Prefect takes longer than all that the flow does.
"""

import gc
import importlib

for name in ("killed_flow", "anyio._backends._asyncio", "rich._emoji_codes"):
    importlib.import_module(name)
gc.freeze()
