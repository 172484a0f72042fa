"""Print a few lines over about a second, one of them on the error stream."""

import os
import sys
import time

print("Hello from Yeedu, run", os.environ.get("YEEDU_RUN_ID", "?"), flush=True)
print("Arguments:", sys.argv[1:], flush=True)
print("Conf:", os.environ.get("YEEDU_CONF", "[]"), flush=True)
for step in range(1, 5):
    time.sleep(0.2)
    print(f"Step {step} of 4", flush=True)
print("This line goes to the error stream.", file=sys.stderr, flush=True)
print("Done.")
