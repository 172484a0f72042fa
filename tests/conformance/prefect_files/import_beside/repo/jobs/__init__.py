"""Jobs of the shop."""
