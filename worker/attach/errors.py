"""What a command says when it cannot go on."""


class AttachError(Exception):
    """A command cannot go on; the message says what is wrong, where, and what to do next."""
