"""A mock of the Yeedu API."""
