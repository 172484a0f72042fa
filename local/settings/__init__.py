"""The platform's settings: where they come from, and which of them must be set together."""
