"""Starts the server as `serve.py` does, but without a limit on guesses, for tests that make many."""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import login
import serve

login.FREE_GUESSES = math.inf
serve.main()
