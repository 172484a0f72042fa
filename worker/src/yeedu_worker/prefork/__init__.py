"""Starts flow runs in milliseconds: a warm parent that has Prefect imported forks one child for each.

The parts, in the order in which they start:

- `keeper`: opens the Unix socket, starts the server, and starts another one when it dies or hangs.
- `server`: imports Prefect once, and forks a child for each request.
- `client`: the command of the work pool. Asks the server for a child and stands in for it towards the worker:
  signals, output, exit code. Runs ``python -m prefect.engine`` itself when there is no server fit to ask.
- `child`: turns the fork into what a fresh interpreter would be, and runs the engine.

Linux only; elsewhere the client always runs the engine itself.
"""
