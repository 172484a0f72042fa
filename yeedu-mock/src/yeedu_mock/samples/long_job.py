"""Print a line a second until stopped, for ten minutes at most."""

import time

for second in range(600):
    print(f"Still running after {second} seconds.", flush=True)
    time.sleep(1)
