"""This platform beside its peers: the same work for each, one after another on one machine."""
