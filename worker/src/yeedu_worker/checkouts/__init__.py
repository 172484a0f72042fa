"""Gives each flow run its own clone of the flows' repository in milliseconds.

`yeedu_worker.git` asks the repository, with the run's own credentials, for its current commit; `snapshots`
caches the objects of each commit, from which `building` builds clones; `yeedu_worker.patches.git_clone` uses
them instead of Prefect's ``git clone``.
"""
