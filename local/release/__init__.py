"""Releases: the version number, the changelog, and ``make release``."""
