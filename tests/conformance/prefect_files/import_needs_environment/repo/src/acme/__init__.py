"""What the shop shares."""
