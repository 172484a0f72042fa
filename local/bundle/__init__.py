"""Bundles: everything that an installation without a network takes, in one file."""
