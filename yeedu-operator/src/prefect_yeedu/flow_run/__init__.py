"""The flow run's side: its blocks, log, artifacts, cancellation, and the record of its remote runs."""
