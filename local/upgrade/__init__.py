"""``make upgrade``: from one release of the platform to a later one, or back by itself.

Gates (`preflight`), a verified backup, a trial of the new release beside the old one (`trial`), the switch
(`switch`), and the rollback (`rollback`). What happens is written down (`journal`) before it happens, so
that whatever ends an upgrade, the next `make upgrade` knows what to undo.
"""
