"""The mock's state: records, the store that keeps them, sessions, seeds."""
