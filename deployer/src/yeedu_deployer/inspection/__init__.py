"""What a flow is, learned from a clone of its repository."""
