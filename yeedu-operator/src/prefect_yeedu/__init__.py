"""Run Yeedu jobs and notebooks from Prefect 3."""
