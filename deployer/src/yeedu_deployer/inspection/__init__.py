"""Inspects flows in a clone of their repository."""
