"""Starts flow runs in milliseconds: a warm parent that has imported Prefect forks one child for each.

The parts, in the order in which they start:

- `keeper`: opens the Unix socket, starts the server, and restarts it when it dies or hangs.
- `server`: imports Prefect once, and forks a child for each request.
- `client`: the command of the work pool. Asks the server for a child and stands in for it towards the worker:
  signals, output, exit code. Runs ``python -m prefect.engine`` itself if no suitable server answers.
- `child`: makes the fork look like a fresh interpreter, and runs the engine.

Linux only; elsewhere the client always runs the engine itself.
"""
