"""One remote run from submission to result: jobs, notebooks, fallback clusters; independent of Prefect."""
