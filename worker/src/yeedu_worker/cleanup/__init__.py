"""Deletes what flow runs leave behind: temporary files, and stored results past their retention."""
