"""``make backup`` and ``make restore``, by hand or on a schedule."""
