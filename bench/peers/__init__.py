"""Compares this platform with its peers: the same work for each, one after another on one machine."""
