"""Writes plans to the server, with first runs, missed runs and scheduled ticks."""
