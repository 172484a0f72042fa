"""Gives each flow run its own clone of the flows' repository in milliseconds.

`yeedu_worker.git` asks the repository, with the run's own credentials, which commit it has now; `snapshots`
keeps what is of each commit, from which `building` builds clones; `yeedu_worker.patches.git_clone` puts
them in the place of Prefect's ``git clone``.
"""
