"""Plans what has to be done: compares the desired state with the server, and writes nothing."""
