"""One remote run from submission to result: jobs, notebooks, fallback clusters. Knows no Prefect."""
