"""The list of all checks, in the order in which they are printed."""

from local.doctor import access, backups, database, engine, machine, network, runs, server, settings, workers

THEMES = (
    machine.THEME,
    engine.THEME,
    settings.THEME,
    network.THEME,
    access.THEME,
    server.THEME,
    runs.THEME,
    workers.THEME,
    database.THEME,
    backups.THEME,
)
