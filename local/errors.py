"""The error that every command raises when it cannot continue."""


class CommandError(Exception):
    """A command cannot continue; the message says what is wrong, where, and what to do next."""
