"""What the mock runs: job processes, Jupyter kernels, and the life cycle of a run."""
