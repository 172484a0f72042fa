"""Reads and checks the files that declare the desired state, and selects from them."""
