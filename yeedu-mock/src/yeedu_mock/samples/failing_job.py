"""Fail the way a program does: say why on the error stream and end with an exit code."""

import sys

print("Reading the table that is not there.", flush=True)
print("The table orders does not exist.", file=sys.stderr)
sys.exit(3)
