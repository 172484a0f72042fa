"""What the mock knows: records, the store that keeps them, sessions, seeds."""
