"""Asks a Yeedu server which of the things are so that the operator takes for granted; see docs/yeedu.md."""
