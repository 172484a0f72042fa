"""REST and websocket connections to one Yeedu, with their login."""
