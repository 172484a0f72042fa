"""Runs job processes and Jupyter kernels, through the life cycle of a run."""
