"""The Python environment that local processes and contributors use, and where its packages come from."""
