"""Attaches this machine to a work pool of the platform, using only Python's standard library."""
