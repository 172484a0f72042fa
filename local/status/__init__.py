"""What ``make status`` prints, and the report at the end of ``make up``."""
