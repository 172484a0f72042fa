"""Ends, restarts or reports flow runs whose process is gone."""
