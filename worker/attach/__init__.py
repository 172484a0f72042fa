"""Attaches this machine to a work pool of the platform, with nothing but Python's standard library."""
