"""Bundles: everything that an installation without a network needs, in one file."""
