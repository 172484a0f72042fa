"""``make upgrade``: from one release of the platform to a later one, or back automatically.

The steps: gates (`preflight`), a verified backup, a trial of the new release next to the old one (`trial`),
the switch (`switch`), and on failure the rollback (`rollback`). Each step is recorded (`journal`) before it
is taken, so that whatever ends an upgrade, the next `make upgrade` knows what to undo.
"""
